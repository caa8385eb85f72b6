"""Secrets with names, as the environment gives them: id:base64,id:base64. The first is in use; the
others are there while something is still made with them."""

import base64
import binascii
import re
import secrets

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def parse_secrets(text: str) -> dict[str, bytes]:
    """The secrets by their ids, in their order; base64 of either alphabet, padded or not.

    Raises ValueError, which names an id at most.
    """
    found: dict[str, bytes] = {}
    for position, entry in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        name, colon, value = entry.partition(":")
        if not colon or not _ID.fullmatch(name):
            raise ValueError(f"entry {position} is not of the form id:base64")
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        standard = value.strip().rstrip("=").replace("-", "+").replace("_", "/")
        try:
            found[name] = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {name!r} is not base64") from None
    return found


def new_secret(name: str, length: int = 32) -> str:
    """A fresh random secret of `length` bytes, as id:base64. Raises ValueError for the name."""
    if not _ID.fullmatch(name):
        raise ValueError("an id has letters, digits, dots, hyphens and underscores, at most 64")
    return f"{name}:{base64.b64encode(secrets.token_bytes(length)).decode()}"
