"""A `Cause` from what an edge has been told, the same for HTTP and gRPC."""

import hashlib
import re
from collections.abc import Awaitable, Callable

from eventkit.callers import Caller
from eventkit.eventstore import Cause

Index = Callable[[str, str], Awaitable[bytes]]
"""(client_id, value) -> a keyed hash: KeyRing.index."""

KEY = r"^[\x21-\x7e]{1,200}$"
"""Of an idempotency key."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


async def make_cause(
    caller: Caller,
    client_id: str,
    key: str | None,
    asked: bytes,
    traceparent: str,
    correlation_id: str,
    index: Index | None,
) -> Cause:
    """asked: all that makes up the request, for the fingerprint. index: None for a plain SHA-256.

    The fingerprint is kept as long as the key, and from the plain hash of a short request, such as
    one with a phone number, the number can be found by trying: the keyed one says nothing.
    """
    fingerprint = b""
    if key is not None:
        digest = hashlib.sha256(asked)
        fingerprint = (
            digest.digest() if index is None else await index(client_id, digest.hexdigest())
        )
    return Cause(
        client_id,
        caller.name,
        idempotency_key=key,
        fingerprint=fingerprint,
        correlation_id=correlation_id,
        traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else "",
    )
