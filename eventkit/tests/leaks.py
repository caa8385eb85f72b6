"""A search for what is left of somebody: in a database, in a topic, in an answer."""

import base64
import io
import json
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

import asyncpg


def folded(text: str) -> str:
    """Small letters without accents, as a search index may have it."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char))


def forms(text: str) -> Iterable[str]:
    yield from (text, text.lower(), text.upper(), text.casefold(), folded(text))
    yield from (unicodedata.normalize("NFD", text), text.replace(" ", ""))
    yield json.dumps(text)[1:-1]
    yield quote(text)
    # Each word that is nobody else's, and a number without what is around it.
    yield from (word for word in re.split(r"[^\w@+.-]+|(?<=\w):", folded(text)) if len(word) > 6)
    if len(digits := "".join(filter(str.isdigit, text))) >= 9:
        yield digits[-9:]


def needles(values: Iterable[str]) -> set[tuple[bytes, str]]:
    """(what to look for, in small letters; what it would give away)"""
    found: set[tuple[bytes, str]] = set()
    for value in values:
        for form in forms(value):
            for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
                data = form.encode(encoding, "replace").lower()
                found.add((data, value))
            data = form.encode()
            for shift in range(3):  # base64 of it within something longer
                core = base64.b64encode(bytes(shift) + data)[(shift * 8 + 5) // 6 : -4]
                found.add((core.lower(), value))
                found.add((core.translate(_URL_SAFE).lower(), value))
    return {(needle, value) for needle, value in found if len(needle) >= 6}


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def found_in(haystack: bytes, values: Iterable[str]) -> set[str]:
    """Which of the values can be found, in any form."""
    lowered = haystack.lower()
    # What is stored as hexadecimal text, decoded as well, from either digit on.
    runs = re.findall(rb"[0-9a-f]{12,}", lowered)
    lowered += b"\n".join(
        bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2].decode()).lower()
        for run in runs
        for start in (0, 1)
    )
    return {value for needle, value in needles(values) if needle in lowered}


async def dump(url: str) -> dict[str, bytes]:
    """Every table of a database, as PostgreSQL sends it in binary, and its planner's statistics."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE'"
            " AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        found = {}
        for schema, table in tables:
            data = io.BytesIO()
            await connection.copy_from_table(
                table, schema_name=schema, output=data, format="binary"
            )
            found[table] = data.getvalue()
        data = io.BytesIO()
        await connection.copy_from_query("SELECT * FROM pg_stats", output=data, format="text")
        return found | {"pg_stats": data.getvalue()}
    finally:
        await connection.close()
