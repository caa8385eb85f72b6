"""The rules of the place, the client and the campaign, asked about the calls of one transaction.

Numbers and customers are locked first, and what was dialled before is read after that; so who
decides about the same ones at the same time waits, and then sees it. What is started here is
history for what comes after it in the same transaction.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Transaction
from eventkit.keys import KeyRing
from services.dialer.campaigns.store import Found
from services.dialer.compliance import store
from services.dialer.compliance.book import campaign_hours
from services.dialer.compliance.open import OpenPlaces
from services.dialer.compliance.place import places_of_key
from services.dialer.compliance.rules import Contact, Jurisdiction, Proposed, Rulebook, decide
from services.dialer.compliance.ruleuse import RuleUse
from services.dialer.compliance.store import OwnRules, Wanted


@dataclass(frozen=True, slots=True)
class Proposal:
    """A call that may be dialled. number: E.164; place: a key of compliance/place.py. dial_before:
    when the carrier has dialled it at the latest."""

    at: int
    dial_before: int
    client_id: str
    found: Found
    mode: str
    number: str
    lead_id: str
    customer_id: str
    place: str
    kind: str
    consent: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """uses: every rule that was asked. forbidden_by: those that forbid; until: when none would any
    more, None: never. country, region: of the number."""

    uses: tuple[RuleUse, ...]
    forbidden_by: tuple[RuleUse, ...]
    until: int | None
    ring_seconds: int
    country: str
    region: str


Own = tuple[Jurisdiction, ...]


class Judging:
    def __init__(self, rulebook: Rulebook, keys: KeyRing) -> None:
        self._rulebook = rulebook
        self._keys = keys
        self._published = OwnRules()
        self._of_client: dict[str, Own] = {}
        self._of_campaign: dict[tuple[str, str], tuple[int, Own]] = {}
        self._open = OpenPlaces(rulebook)

    async def look(self, connection: AsyncConnection, client_ids: Sequence[str]) -> None:
        """What clients have added to the rulebook by now."""
        found = await self._published.read(connection, client_ids)
        for client_id in client_ids:
            own = found.get(client_id)
            before = self._of_client.get(client_id)
            if before is None or before[:1] != (() if own is None else (own,)):
                self._of_client[client_id] = () if own is None else (own,)
                self._of_campaign = {
                    key: rules for key, rules in self._of_campaign.items() if key[0] != client_id
                }

    async def begin(
        self, tx: Transaction, proposals: Sequence[Proposal], *, lock: bool = True
    ) -> "Judge":
        """Locks all that these calls are about, until the transaction ends. lock: False where
        nothing is going to be dialled."""
        await self.look(tx.connection, sorted({each.client_id for each in proposals}))
        proposed = [await self._proposed(each) for each in proposals]
        wanted = [Wanted(each.client_id, each.number_key, each.customer_key) for each in proposed]
        if wanted and lock:
            await store.lock(tx.connection, wanted)
        history = await store.read_history(tx.connection, wanted, tx.now)
        return Judge(tx, self._rulebook, proposed, history)

    async def _proposed(self, each: Proposal) -> Proposed:
        number_key = await store.number_key(self._keys, each.number)
        settings = each.found.campaign.settings
        assert settings is not None
        return Proposed(
            each.at,
            places_of_key(each.place),
            each.kind,
            settings.purpose.value,
            each.mode,
            each.client_id,
            each.found.campaign_id,
            number_key,
            store.customer_key(each.customer_id, each.lead_id),
            settings.subject or each.found.campaign_id,
            each.consent,
            settings.ring_seconds,
            self._rules_of(each.found),
            each.dial_before,
        )

    def _rules_of(self, found: Found) -> Own:
        """The client's and the campaign's own; the same objects as long as they are the same."""
        key = found.client_id, found.campaign_id
        version, own = self._of_campaign.get(key, (0, ()))
        if version != found.version:
            settings = found.campaign.settings
            assert settings is not None
            of_client = self._of_client.get(found.client_id, ())
            own = (*of_client, *campaign_hours(settings.hours, found.version))
            self._of_campaign[key] = found.version, own
        return own

    def open_places(self, found: Found, mode: str, places: Iterable[str], now: int) -> list[str]:
        """Those of the places where it may be the hour for a call."""
        settings = found.campaign.settings
        assert settings is not None
        own = self._rules_of(found)
        return self._open.among(places, settings.purpose.value, mode, now, own)


class Judge:
    """Of one transaction; calls are named by their place in the proposals."""

    def __init__(
        self,
        tx: Transaction,
        rulebook: Rulebook,
        proposed: Sequence[Proposed],
        history: Sequence[tuple[Contact, ...]],
    ) -> None:
        self._tx = tx
        self._rulebook = rulebook
        self._proposed = proposed
        self._history = history
        self._started: list[tuple[str, Contact]] = []
        self._of_number: defaultdict[bytes, list[Contact]] = defaultdict(list)
        self._of_customer: defaultdict[str, list[Contact]] = defaultdict(list)

    def decide(self, number: int) -> Judged:
        proposed = self._proposed[number]
        here = self._of_number[proposed.number_key]
        here = here + [
            each
            for each in self._of_customer[proposed.customer_key]
            if each.number_key != proposed.number_key
        ]
        decision = decide(proposed, (*self._history[number], *here), self._rulebook)
        place = proposed.places[0]
        return Judged(
            decision.uses,
            decision.forbidden_by,
            decision.until,
            decision.ring_seconds,
            place.country,
            place.region,
        )

    def started(self, number: int, attempt_id: str) -> None:
        """It is dialled."""
        proposed = self._proposed[number]
        contact = Contact(
            proposed.at,
            proposed.client_id,
            proposed.campaign_id,
            proposed.number_key,
            proposed.purpose,
            proposed.customer_key,
            proposed.subject,
        )
        self._started.append((attempt_id, contact))
        self._of_number[contact.number_key].append(contact)
        self._of_customer[contact.customer_key].append(contact)

    async def write(self) -> None:
        """What was started becomes history."""
        await store.begin(self._tx.connection, self._started)
