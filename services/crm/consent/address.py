"""Channels, purposes and addresses: what a consent and a list's entry are about. Pure."""

import re
from enum import StrEnum

from eventkit.decider import Invalid


class Channel(StrEnum):
    VOICE = "voice"
    SMS = "sms"
    EMAIL = "email"
    CHAT = "chat"


PURPOSES = ("information", "survey", "sales", "win-back", "payment-reminder")
"""Every client has these; a client's contact policy may add its own."""

MAX_ADDRESS = 254
_PURPOSE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f.]+(\.[^@\s\x00-\x1f\x7f.]+)+")
_CHAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+@-]*")


def check_purpose(purpose: str, field: str = "purpose") -> None:
    """Raise Invalid for what cannot be a purpose's id."""
    if not _PURPOSE.fullmatch(purpose):
        raise Invalid(field, f"must match {_PURPOSE.pattern}")


def channel_of(channel: str, field: str = "channel") -> Channel:
    """Raises Invalid for an unknown channel."""
    try:
        return Channel(channel)
    except ValueError:
        raise Invalid(field, f"must be one of {', '.join(Channel)}") from None


def normalised(channel: Channel, address: str, field: str = "address") -> str:
    """The one form of an address, with its kind: `tel:+33612345678`, `mail:ann@example.com`.

    voice and sms share their numbers. Raises Invalid; the reason never has the value in it.
    """
    if channel in (Channel.VOICE, Channel.SMS):
        return number(address, field)
    if len(address) > MAX_ADDRESS:
        raise Invalid(field, f"has more than {MAX_ADDRESS} characters")
    if channel is Channel.EMAIL:
        return email(address, field)
    if not _CHAT.fullmatch(address):
        raise Invalid(field, f"must match {_CHAT.pattern}")
    return f"chat:{address}"


def number(address: str, field: str = "number") -> str:
    """The form of a telephone number. Raises Invalid."""
    if not _E164.fullmatch(address):
        raise Invalid(field, "must be a number in E.164, such as +33612345678")
    return f"tel:{address}"


def email(address: str, field: str = "email") -> str:
    """The form of an email address: upper and lower case are the same. Raises Invalid."""
    if not _EMAIL.fullmatch(address):
        raise Invalid(field, "must be an email address")
    folded = address.casefold()
    try:
        folded.encode()
    except UnicodeEncodeError:
        raise Invalid(field, "has characters that are no text") from None
    return f"mail:{folded}"
