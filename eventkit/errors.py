"""The three outcomes of a message that did not go well.

Exception
├── BadRecord            this record can never succeed: dead-letter it, go on
│   ├── InvalidMessage   poison: it cannot be decoded, or a field makes no sense
│   └── Rejected         it is well formed, and the domain said no
├── NotFound             there is no such thing, or none that the caller may see
├── Unavailable          an engine does not answer now: the same again may succeed
├── DeadLetterLimit      too many bad records in a row: the deploy is bad, not the data; stop
└── anything else        unforeseen: the process stops with its offset uncommitted
"""

from collections.abc import Mapping
from typing import Any


class BadRecord(Exception):
    """A record that no retry can save. `field` is empty where no single field is at fault."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field


class InvalidMessage(BadRecord):
    """The message cannot be decoded, or `field` makes no sense for `reason`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason, field)


class Rejected(BadRecord):
    """The domain said no, for `reason`; nothing has changed.

    more: what helps to go on, such as {"next_slots": [...]}; JSON, and nothing personal. It is
    beside the reason in the problem document, and a google.protobuf.Struct among gRPC's details.
    """

    def __init__(self, reason: str, field: str = "", more: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason, field)
        self.more = dict(more or {})


class NotFound(Exception):
    """There is no `what` (such as "complaint"), or none that the caller may see: HTTP 404."""

    def __init__(self, what: str) -> None:
        super().__init__(f"no such {what}")
        self.what = what


class Unavailable(Exception):
    """An engine does not answer now, and nothing has changed: HTTP 503, gRPC UNAVAILABLE."""


class DeadLetterLimit(Exception):
    """More bad records of one partition in a row than the limit allows."""
