"""Personal data is sealed with a key per (client, subject); without the key it is noise.

The keys are kept in a database of their own, wrapped by a master key from the environment, and
shared by all services of the centre: one customer's key serves them all, and erasing it makes what
any of them has kept unreadable, backups included.
"""

from collections.abc import Collection, Mapping
from typing import Protocol


class DataKey(Protocol):
    """The key of one subject. `context` (an event's id) is authenticated: it must be the same."""

    def seal(self, plain: bytes, context: bytes) -> bytes: ...
    def open(self, sealed: bytes, context: bytes) -> bytes: ...


class KeyRing(Protocol):
    async def ensure(self, client_id: str, subjects: Collection[str]) -> Mapping[str, DataKey]:
        """The keys of these subjects, made where missing. Raises Rejected for an erased subject."""
        ...

    async def find(self, client_id: str, subjects: Collection[str]) -> Mapping[str, DataKey]:
        """The keys that exist; those of erased subjects are missing."""
        ...

    async def erase(self, client_id: str, subjects: Collection[str]) -> None:
        """Destroy the keys for good. A subject's key is never made again."""
        ...

    async def index(self, client_id: str, value: str) -> bytes:
        """A keyed hash (HMAC-SHA256) of a value: to find it again without keeping it."""
        ...
