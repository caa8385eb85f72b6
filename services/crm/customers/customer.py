"""A customer of one client, as one record: registered, corrected, merged into another, erased.

Commands carry values in the form that `contact` gives. A merge changes no record: it says that this
one stands for nothing but another, and undoing it says that it stands for itself again. What the
survivor shows is a view over the records (store.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from eventkit.decider import Decider, Invalid, NotFound, Personal, Rejected


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of the person; empty where nothing is.

    number             the client's own number of the customer, unique for the client
    phones, emails     E.164; addresses with the domain in small letters; the preferred ones first
    language, time_zone, preferred_channel   BCP 47, IANA, one of contact.CHANNELS
    """

    number: str = ""
    name: str = ""
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    address: str = ""
    language: str = ""
    time_zone: str = ""
    preferred_channel: str = ""


FIELDS = tuple(each.name for each in fields(Details))
NOBODY = Details()

# Events. Their names are stored: they do not change.


@dataclass(frozen=True, slots=True)
class CustomerRegistered:
    """source: `agent`, `partner` or `import`."""

    source: str
    number: Personal[str] = ""
    name: Personal[str] = ""
    phones: Personal[tuple[str, ...]] = ()
    emails: Personal[tuple[str, ...]] = ()
    address: Personal[str] = ""
    language: str = ""
    time_zone: str = ""
    preferred_channel: str = ""


@dataclass(frozen=True, slots=True)
class CustomerCorrected:
    """fields: the names of those that are different now; only their values mean something."""

    fields: tuple[str, ...]
    number: Personal[str] = ""
    name: Personal[str] = ""
    phones: Personal[tuple[str, ...]] = ()
    emails: Personal[tuple[str, ...]] = ()
    address: Personal[str] = ""
    language: str = ""
    time_zone: str = ""
    preferred_channel: str = ""


@dataclass(frozen=True, slots=True)
class CustomerMerged:
    into_customer_id: str


@dataclass(frozen=True, slots=True)
class CustomerUnmerged:
    from_customer_id: str


@dataclass(frozen=True, slots=True)
class CustomerErased:
    pass


Event = CustomerRegistered | CustomerCorrected | CustomerMerged | CustomerUnmerged | CustomerErased

# Commands.


@dataclass(frozen=True, slots=True)
class RegisterCustomer:
    details: Details
    source: str


@dataclass(frozen=True, slots=True)
class CorrectCustomer:
    """Only what `fields` names is corrected, to the value in `details`; an empty one clears."""

    details: Details
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class MergeCustomer:
    """into: the other record's id; survivor_id: the end of its chain; erased: the other is."""

    customer_id: str
    into_customer_id: str
    survivor_id: str
    erased: bool = False


@dataclass(frozen=True, slots=True)
class UnmergeCustomer:
    pass


@dataclass(frozen=True, slots=True)
class EraseCustomer:
    """For each record of a person. It says so, no more: the keys are destroyed by privacy/."""


Command = RegisterCustomer | CorrectCustomer | MergeCustomer | UnmergeCustomer | EraseCustomer

# State.


@dataclass(frozen=True, slots=True)
class Customer:
    """One record. merged_into: the record that stands for it; empty: it stands for itself."""

    registered: bool = False
    source: str = ""
    details: Details = field(default=NOBODY)
    merged_into: str = ""
    unmerged: bool = False
    erased: bool = False


def decide(command: Command, customer: Customer) -> Sequence[Event]:
    """Raises NotFound, Invalid for what can be no customer, Rejected for what cannot be now."""
    if not customer.registered and not isinstance(command, RegisterCustomer):
        raise NotFound("customer")
    if customer.erased and not isinstance(command, EraseCustomer):
        raise Rejected("the customer has been erased")
    match command:
        case RegisterCustomer(details, source):
            return _register(details, source, customer)
        case CorrectCustomer(details, named):
            return _correct(details, named, customer)
        case MergeCustomer():
            return _merge(command, customer)
        case UnmergeCustomer():
            return _unmerge(customer)
        case EraseCustomer():
            return [] if customer.erased else [CustomerErased()]


def _register(details: Details, source: str, customer: Customer) -> Sequence[Event]:
    if customer.registered:
        if details == customer.details:
            return []
        raise Rejected("the id is another customer's", "customer_id")
    _check_known_by_something(details)
    return [CustomerRegistered(source, **{name: getattr(details, name) for name in FIELDS})]


def _correct(details: Details, named: frozenset[str], customer: Customer) -> Sequence[Event]:
    known = customer.details
    values = {
        name: getattr(details, name)
        for name in FIELDS
        if name in named and getattr(details, name) != getattr(known, name)
    }
    if not values:
        return []
    _check_known_by_something(replace(known, **values))
    return [CustomerCorrected(tuple(values), **values)]


def _check_known_by_something(details: Details) -> None:
    if not (details.number or details.name or details.phones or details.emails):
        raise Invalid("name", "a customer needs a name, a number, a phone or an email")


def _merge(command: MergeCustomer, customer: Customer) -> Sequence[Event]:
    into = command.into_customer_id
    if into == command.customer_id:
        raise Invalid("into_customer_id", "is the customer that is to be merged")
    if customer.merged_into == into:
        return []
    if customer.merged_into:
        raise Rejected(
            f"the customer is merged into {customer.merged_into}: undo that first", "customer_id"
        )
    if command.erased:
        raise Rejected("the other customer has been erased", "into_customer_id")
    if command.survivor_id == command.customer_id:
        raise Rejected("the other is itself merged into this customer", "into_customer_id")
    return [CustomerMerged(into)]


def _unmerge(customer: Customer) -> Sequence[Event]:
    if customer.merged_into:
        return [CustomerUnmerged(customer.merged_into)]
    if customer.unmerged:
        return []
    raise Rejected("the customer is merged into no other")


def evolve(customer: Customer, event: Event) -> Customer:
    match event:
        case CustomerRegistered():
            details = Details(**{name: getattr(event, name) for name in FIELDS})
            return replace(customer, registered=True, source=event.source, details=details)
        case CustomerCorrected(named):
            values = {name: getattr(event, name) for name in named}
            return replace(customer, details=replace(customer.details, **values))
        case CustomerMerged(into):
            return replace(customer, merged_into=into, unmerged=False)
        case CustomerUnmerged():
            return replace(customer, merged_into="", unmerged=True)
        case CustomerErased():
            return replace(customer, details=NOBODY, erased=True)


DECIDER: Decider[Command, Customer, Event] = Decider(
    Customer(),
    decide,
    evolve,
    (CustomerRegistered, CustomerCorrected, CustomerMerged, CustomerUnmerged, CustomerErased),
)


def survivor(merged_into: Mapping[str, str], customer_id: str) -> str:
    """The end of the chain that begins with a record; merged_into: of all records ("" or missing:
    stands for itself)."""
    while into := merged_into.get(customer_id, ""):
        customer_id = into
    return customer_id
