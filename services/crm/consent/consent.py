"""What one address allows on one channel for one purpose. Pure.

A stream for each (address, channel, purpose): given, withdrawn, given again. Who never gave a
consent may withdraw it too: that is an objection, and forbids what needs no consent otherwise.
Once erased with its person, a consent begins anew, under another key.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from eventkit.decider import Decider, Invalid, Personal, Rejected
from services.crm.consent.address import Channel


class Proof(StrEnum):
    """How a consent can be shown."""

    RECORDING = "recording"
    FORM = "form"
    EMAIL = "email"
    LETTER = "letter"


# Commands. `at` is now; times are microseconds since 1970.


@dataclass(frozen=True, slots=True)
class GiveConsent:
    """given_at: when the person said so. expires_at: None is until it is withdrawn.

    address_hash: the keyed hash of the normalised address, in hex. reference: where the proof is
    (a recording's id, a form's number). place: where and how it was given.
    """

    consent_id: str
    channel: Channel
    purpose: str
    address: str
    address_hash: str
    customer_id: str
    proof: Proof
    reference: str
    place: str
    taken_by: str
    text: str
    given_at: int
    expires_at: int | None
    at: int


@dataclass(frozen=True, slots=True)
class WithdrawConsent:
    """Address, channel and purpose name the consent also where none was ever given."""

    consent_id: str
    channel: Channel
    purpose: str
    address: str
    address_hash: str
    customer_id: str
    place: str
    text: str
    withdrawn_at: int
    at: int


@dataclass(frozen=True, slots=True)
class EraseConsent:
    """Its person is erased: nothing is allowed by it any more."""

    consent_id: str
    at: int


Command = GiveConsent | WithdrawConsent | EraseConsent


@dataclass(frozen=True, slots=True)
class ConsentGiven:
    consent_id: str
    channel: Channel
    purpose: str
    address_hash: str
    customer_id: str
    proof: Proof
    taken_by: str
    given_at: int
    expires_at: int | None
    address: Personal[str] = ""
    reference: Personal[str] = ""
    place: Personal[str] = ""
    text: Personal[str] = ""


@dataclass(frozen=True, slots=True)
class ConsentWithdrawn:
    consent_id: str
    channel: Channel
    purpose: str
    address_hash: str
    customer_id: str
    withdrawn_at: int
    address: Personal[str] = ""
    place: Personal[str] = ""
    text: Personal[str] = ""


@dataclass(frozen=True, slots=True)
class ConsentErased:
    consent_id: str
    channel: Channel
    purpose: str
    erased_at: int


Event = ConsentGiven | ConsentWithdrawn | ConsentErased


@dataclass(frozen=True, slots=True)
class Consent:
    """given_at is None where none is known; withdrawn_at counts only after given_at.

    erasures: how often it began anew; a part of the name of its key.
    """

    channel: Channel | None = None
    purpose: str = ""
    address_hash: str = ""
    customer_id: str = ""
    proof: Proof | None = None
    reference: str = ""
    given_at: int | None = None
    expires_at: int | None = None
    withdrawn_at: int | None = None
    erasures: int = 0

    @property
    def known(self) -> bool:
        return self.given_at is not None or self.withdrawn_at is not None

    def own_subject(self, consent_id: str) -> str:
        """What its own key is for: another one after each erasure."""
        return f"{consent_id}/{self.erasures}"

    def subject(self, consent_id: str) -> str:
        """Whose key seals it: the customer's, or its own where nobody is named."""
        return self.customer_id or self.own_subject(consent_id)


def decide(command: Command, state: Consent) -> list[Event]:
    match command:
        case GiveConsent():
            return _give(command, state)
        case WithdrawConsent():
            return _withdraw(command, state)
        case EraseConsent():
            return _erase(command, state)


def _give(command: GiveConsent, state: Consent) -> list[Event]:
    if command.given_at > command.at:
        raise Invalid("given_at", "must not lie in the future")
    if command.expires_at is not None and command.expires_at <= command.given_at:
        raise Invalid("expires_at", "must be later than given_at")
    # A withdrawal at the very moment of the consent wins.
    if state.withdrawn_at is not None and command.given_at <= state.withdrawn_at:
        raise Rejected("it has been withdrawn since then")
    customer_id = command.customer_id or state.customer_id
    if state.given_at is not None and state.withdrawn_at is None:
        if command.given_at < state.given_at:
            raise Rejected("a newer consent is known")
        now = (command.given_at, command.expires_at, command.proof, command.reference, customer_id)
        if now == (
            state.given_at,
            state.expires_at,
            state.proof,
            state.reference,
            state.customer_id,
        ):
            return []
    return [
        ConsentGiven(
            consent_id=command.consent_id,
            channel=command.channel,
            purpose=command.purpose,
            address_hash=command.address_hash,
            customer_id=customer_id,
            proof=command.proof,
            taken_by=command.taken_by,
            given_at=command.given_at,
            expires_at=command.expires_at,
            address=command.address,
            reference=command.reference,
            place=command.place,
            text=command.text,
        )
    ]


def _withdraw(command: WithdrawConsent, state: Consent) -> list[Event]:
    if command.withdrawn_at > command.at:
        raise Invalid("withdrawn_at", "must not lie in the future")
    # A later no counts from later on: a consent of between the two, told late, does not hold.
    if state.withdrawn_at is not None and command.withdrawn_at <= state.withdrawn_at:
        return []
    if state.given_at is not None and command.withdrawn_at < state.given_at:
        raise Rejected("it has been given again since then")
    return [
        ConsentWithdrawn(
            consent_id=command.consent_id,
            channel=command.channel,
            purpose=command.purpose,
            address_hash=command.address_hash,
            customer_id=command.customer_id or state.customer_id,
            withdrawn_at=command.withdrawn_at,
            address=command.address,
            place=command.place,
            text=command.text,
        )
    ]


def _erase(command: EraseConsent, state: Consent) -> list[Event]:
    if not state.known:
        return []
    assert state.channel is not None
    return [ConsentErased(command.consent_id, state.channel, state.purpose, command.at)]


def evolve(state: Consent, event: Event) -> Consent:
    match event:
        case ConsentGiven():
            return Consent(
                channel=event.channel,
                purpose=event.purpose,
                address_hash=event.address_hash,
                customer_id=event.customer_id,
                proof=event.proof,
                reference=event.reference,
                given_at=event.given_at,
                expires_at=event.expires_at,
                erasures=state.erasures,
            )
        case ConsentWithdrawn():
            return replace(
                state,
                channel=event.channel,
                purpose=event.purpose,
                address_hash=event.address_hash,
                customer_id=event.customer_id,
                withdrawn_at=event.withdrawn_at,
            )
        case ConsentErased():
            return Consent(
                channel=state.channel,
                purpose=state.purpose,
                address_hash=state.address_hash,
                erasures=state.erasures + 1,
            )


DECIDER: Decider[Command, Consent, Event] = Decider(
    initial=Consent(),
    decide=decide,
    evolve=evolve,
    events=(ConsentGiven, ConsentWithdrawn, ConsentErased),
)
