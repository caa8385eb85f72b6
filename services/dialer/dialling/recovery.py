"""Calls of which nothing is heard: the carrier is asked what it knows, so that none is stuck.

What the carrier has never had it will never dial once it was asked, and the attempt has ended as
not dialled; what it has forgotten, or has ended without saying so, ends as its error.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from eventkit.errors import Unavailable
from eventkit.eventstore import EventStore
from services.dialer.attempts import store as attempts
from services.dialer.attempts.attempt import Lapse, Lose
from services.dialer.dialling import metrics
from services.dialer.dialling.calls import Calls
from services.dialer.dialling.carrier import Carrier
from services.dialer.dialling.messages import CallKey, Known
from services.dialer.dialling.recording import Recording
from services.dialer.dialling.turn import SECOND

log = logging.getLogger(__name__)

RECOVER_S: Final = 10.0
DOUBT_AFTER: Final = 10 * SECOND
"""An attempt of which nothing was heard so long after its time to be dialled is looked into."""
LOOK_INTO: Final = 300 * SECOND
"""And one that is out, every so often: that nobody has missed its end."""
NEVER: Final = "the carrier never had it"
LOST_AFTER_S: Final = 60.0
"""So long the carrier says that a call is over, and its results do not come: they are lost."""


class Recovery:
    """calls: those that are out as far as is known here; what is settled is dropped from them."""

    def __init__(
        self, events: EventStore, carrier: Carrier, calls: Calls, recording: Recording
    ) -> None:
        self._events = events
        self._carrier = carrier
        self._calls = calls
        self._recording = recording
        self.doubted: dict[CallKey, float] = {}
        self._over_since: dict[CallKey, float] = {}
        self._looked_into = 0

    def doubt(self, keys: Sequence[CallKey]) -> None:
        """The carrier is asked about them soon."""
        now = time.monotonic()
        for key in keys:
            self.doubted.setdefault(key, now)

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look_into()
            except Unavailable as error:
                log.warning("nothing is known of %d calls: %s", len(self.doubted), error)
            await asyncio.sleep(RECOVER_S if not self.doubted else 1.0)

    async def look_into(self) -> None:
        """Once. Raises Unavailable."""
        now = self._events.clock.now_us()
        async with self._events.reading() as connection:
            rows = await attempts.open_attempts(connection, now - DOUBT_AFTER)
        all_of_them = now - self._looked_into >= LOOK_INTO
        wanted: dict[CallKey, Mapping[str, Any]] = {}
        for row in rows:
            key = CallKey(row["client_id"], row["attempt_id"])
            out = self._calls.outs.get(key.stream_id)
            if all_of_them or out is None or key in self.doubted or key in self._over_since:
                wanted[key] = row
        keys = list(wanted)
        for first in range(0, len(keys), 1_000):
            await self._settle(keys[first : first + 1_000], wanted, now)
        # Not before: while the carrier does not answer, they are still in doubt.
        if all_of_them:
            self._looked_into = now
        self.doubted = {
            key: since
            for key, since in self.doubted.items()
            if key not in wanted and time.monotonic() - since < 2 * RECOVER_S
        }

    async def _settle(
        self, keys: Sequence[CallKey], rows: Mapping[CallKey, Mapping[str, Any]], now: int
    ) -> None:
        said = await self._carrier.look(keys)
        lost: defaultdict[str, dict[str, Lapse | Lose]] = defaultdict(dict)
        for key, known in zip(keys, said, strict=True):
            if known is not Known.OVER:
                self._over_since.pop(key, None)
            if known is Known.OUT:
                continue
            if known is Known.OVER:
                since = self._over_since.setdefault(key, time.monotonic())
                if time.monotonic() - since < LOST_AFTER_S:
                    continue
                del self._over_since[key]
                log.error("%s: its end was never told", key.stream_id)
            heard = bool(rows[key]["answered_by"])
            lost[key.client_id][key.attempt_id] = (
                Lose(now) if heard or known is Known.OVER else Lapse(now, NEVER)
            )
            self._calls.drop(key)
            metrics.LAPSED.add(1, {"reason": "lost" if heard else "unknown"})
        for client_id, commands in lost.items():
            await self._recording.tell(client_id, commands)
