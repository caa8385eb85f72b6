"""Win-back campaigns get their leads by themselves: every few minutes crm is asked who has refused
the offer since. Nobody is added twice, so it does not matter how often, or by how many workers."""

import asyncio
import logging
from typing import Final

from eventkit.errors import BadRecord, NotFound, Unavailable
from eventkit.eventstore import Cause
from services.dialer.leads.winback import CrmCustomers
from services.dialer.service import Dialer

log = logging.getLogger(__name__)

ACTOR: Final = "dialer-worker"
EVERY_S: Final = 300.0


class Feeding:
    """every_s: seconds between two rounds."""

    def __init__(self, dialer: Dialer, crm: CrmCustomers, every_s: float = EVERY_S) -> None:
        self._dialer = dialer
        self._crm = crm
        self._every_s = every_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. What does not answer is asked again in the next round."""
        while not self._stopping.is_set():
            try:
                await self.feed()
            except Unavailable as error:
                log.warning("win-back campaigns wait for their leads: %s", error)
            try:
                await asyncio.wait_for(self._stopping.wait(), self._every_s)
            except TimeoutError:
                continue

    async def feed(self) -> int:
        """One round; how many leads are new. Raises Unavailable."""
        added = 0
        for found, _ in await self._dialer.campaigns.running():
            settings = found.campaign.settings
            wanted = settings.win_back if settings is not None else None
            if wanted is None:
                continue
            try:
                answer = await self._dialer.leads.feed_win_back(
                    Cause(found.client_id, ACTOR),
                    found.campaign_id,
                    wanted.offer_id,
                    wanted.reasons,
                    wanted.since,
                    self._crm,
                )
            except (BadRecord, NotFound) as error:
                log.error("%s/%s is not fed: %s", found.client_id, found.campaign_id, error)
                continue
            added += int(answer["added"])
        return added
