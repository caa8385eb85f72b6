"""The registered clients and their zones: the dialer works for no other."""

from zoneinfo import ZoneInfo

from eventkit.registry import Registry
from services.dialer.codec import decode_zone


def clients(bootstrap: str) -> Registry[ZoneInfo]:
    """client-events as a table: `known(client_id)`, and `get(client_id)` is the client's zone."""
    return Registry(bootstrap, "client-events", decode_zone, "client")
