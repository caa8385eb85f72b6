"""May this address be contacted for this purpose at this time, and why (not)? Pure.

`decide_contact` looks at everything that may have a say, and names it: the client's policy, the
consent, every do-not-call list that applies with the version that was read, whether it had the
number or not, and an erasure. One ground that forbids is enough.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from eventkit.decider import Decider, Invalid
from services.crm.consent.address import Channel, check_purpose
from services.crm.consent.donotcall import CENTRE, DAY, Kind, Settings

# The client's policy: which purposes there are, and what each needs.

MAX_PURPOSES = 100
ALL_CHANNELS = tuple(Channel)


@dataclass(frozen=True, slots=True)
class Rule:
    """consent_on: the channels on which nobody may be contacted without prior consent (opt-in); on
    the others all may who did not object (opt-out).

    consent_overrides_registries: a consent that is newer than the listing overrides a public
    register. A list of kind `own` is never overridden.
    """

    purpose: str
    consent_on: tuple[Channel, ...] = ()
    consent_overrides_registries: bool = False


DEFAULT_RULES = (
    Rule("information"),
    Rule("survey"),
    Rule("sales", ALL_CHANNELS),
    Rule("win-back", ALL_CHANNELS),
    Rule("payment-reminder"),
)
"""Until a client says otherwise. Selling needs consent: the strictest law that we call under."""


@dataclass(frozen=True, slots=True)
class PublishPolicy:
    """Rules of purposes that are left out are the default's; others are the client's own."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class ContactPolicyPublished:
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """version 0 is the default."""

    version: int = 0
    rules: tuple[Rule, ...] = ()

    def rule(self, purpose: str) -> Rule | None:
        for rule in (*self.rules, *DEFAULT_RULES):
            if rule.purpose == purpose:
                return rule
        return None

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        own = {rule.purpose for rule in self.rules}
        return (*self.rules, *(rule for rule in DEFAULT_RULES if rule.purpose not in own))


def decide_policy(command: PublishPolicy, state: Policy) -> list[ContactPolicyPublished]:
    if len(command.rules) > MAX_PURPOSES:
        raise Invalid("rules", f"more than {MAX_PURPOSES}")
    seen: set[str] = set()
    for position, rule in enumerate(command.rules):
        check_purpose(rule.purpose, f"rules.{position}.purpose")
        if rule.purpose in seen:
            raise Invalid(f"rules.{position}.purpose", "has a rule before")
        seen.add(rule.purpose)
        if len(set(rule.consent_on)) != len(rule.consent_on):
            raise Invalid(f"rules.{position}.consent_on", "names a channel twice")
    if command.rules == state.rules:
        return []
    return [ContactPolicyPublished(command.rules)]


def evolve_policy(state: Policy, event: ContactPolicyPublished) -> Policy:
    return Policy(state.version + 1, event.rules)


POLICY: Decider[PublishPolicy, Policy, ContactPolicyPublished] = Decider(
    initial=Policy(),
    decide=decide_policy,
    evolve=evolve_policy,
    events=(ContactPolicyPublished,),
)


# The question, what is known, and the answer.


@dataclass(frozen=True, slots=True)
class Question:
    """at: microseconds since 1970. The answer is what is known now, for that time."""

    channel: Channel
    purpose: str
    at: int


@dataclass(frozen=True, slots=True)
class KnownConsent:
    """The consent for this address, channel and purpose; given_at None: only an objection."""

    consent_id: str
    version: int
    given_at: int | None
    expires_at: int | None
    withdrawn_at: int | None


@dataclass(frozen=True, slots=True)
class Listed:
    """The number is on the list. since: when it came to be, by the list's own dates."""

    since: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class SeenList:
    """One of the client's or the centre's lists, as it was read, and the number's entry there."""

    client_id: str
    list_id: str
    version: int
    settings: Settings
    as_of: int | None
    listed: Listed | None = None

    @property
    def name(self) -> str:
        """`bloctel`, or `centre/bloctel` for one that binds all clients."""
        return f"{CENTRE}/{self.list_id}" if self.client_id == CENTRE else self.list_id


@dataclass(frozen=True, slots=True)
class Evidence:
    """erased_at: when the address's person was erased; None: never, or no trace of it."""

    policy: Policy = field(default_factory=Policy)
    consent: KnownConsent | None = None
    lists: tuple[SeenList, ...] = ()
    erased_at: int | None = None


class About(StrEnum):
    """What a ground is about; the words of the contract."""

    POLICY = "policy"
    CONSENT = "consent"
    NO_CONSENT = "no-consent"
    LIST = "do-not-call-list"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Ground:
    """Something that was looked at: what it is, in which version, and what follows from it."""

    allows: bool
    kind: About
    id: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """grounds: those that forbid first. Allowed where none forbids."""

    allowed: bool
    grounds: tuple[Ground, ...]


def decide_contact(question: Question, evidence: Evidence) -> Verdict:
    """Raises Invalid for a purpose that neither the default nor the client's policy has."""
    rule = evidence.policy.rule(question.purpose)
    if rule is None:
        raise Invalid("purpose", "is not one of the client's purposes")
    consent = evidence.consent
    valid = consent is not None and _why_not(consent, question.at) == ""
    grounds = [
        _policy_ground(rule, question, evidence.policy),
        _consent_ground(rule, question, consent),
    ]
    if evidence.erased_at is not None:
        # A valid consent is newer than the erasure, or another person's: theirs went with them.
        reason = "consent-since" if valid else "erased"
        grounds.append(Ground(valid, About.ERASED, "", 0, reason))
    overriding = consent if valid and rule.consent_overrides_registries else None
    grounds += [
        _list_ground(seen, question.at, overriding)
        for seen in evidence.lists
        if _applies(seen.settings, question)
    ]
    grounds.sort(key=lambda ground: (ground.allows, ground.kind, ground.id))
    return Verdict(all(ground.allows for ground in grounds), tuple(grounds))


def _policy_ground(rule: Rule, question: Question, policy: Policy) -> Ground:
    reason = "consent-needed" if question.channel in rule.consent_on else "consent-not-needed"
    return Ground(True, About.POLICY, rule.purpose, policy.version, reason)


def _consent_ground(rule: Rule, question: Question, consent: KnownConsent | None) -> Ground:
    needed = question.channel in rule.consent_on
    if consent is None:
        reason = "none-given" if needed else "not-needed"
        return Ground(not needed, About.NO_CONSENT, "", 0, reason)
    why_not = _why_not(consent, question.at)
    # A no said aloud forbids also what needs no yes.
    allows = not why_not or (not needed and why_not != "withdrawn")
    return Ground(allows, About.CONSENT, consent.consent_id, consent.version, why_not or "given")


def _why_not(consent: KnownConsent, at: int) -> str:
    """Why a consent does not hold at a time; empty where it does."""
    if consent.withdrawn_at is not None and consent.withdrawn_at <= at:
        return "withdrawn"
    if consent.given_at is None or consent.given_at > at:
        return "not-given-yet"
    if consent.expires_at is not None and consent.expires_at <= at:
        return "expired"
    return ""


def _applies(settings: Settings, question: Question) -> bool:
    return (not settings.channels or question.channel in settings.channels) and (
        not settings.purposes or question.purpose in settings.purposes
    )


def _list_ground(seen: SeenList, at: int, overriding: KnownConsent | None) -> Ground:
    settings, listed = seen.settings, seen.listed
    hit = listed is not None and (listed.expires_at is None or listed.expires_at > at)
    allows, reason = True, "not-listed"
    if hit:
        assert listed is not None
        allows, reason = False, "listed"
        if (
            settings.kind is Kind.REGISTRY
            and overriding is not None
            and overriding.given_at is not None
            and overriding.given_at > listed.since
        ):
            allows, reason = True, "overridden-by-consent"
    if reason != "listed" and settings.max_age_days is not None:
        if seen.as_of is None:
            allows, reason = not settings.required, "never-loaded"
        elif at - seen.as_of > settings.max_age_days * DAY:
            allows, reason = not settings.required, "out-of-date"
    return Ground(allows, About.LIST, seen.name, seen.version, reason)
