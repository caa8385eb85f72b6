"""What a line that is a duplicate adds to the lead that is known. Pure.

Nothing that is known is replaced: numbers and attributes come after those that are there, texts
where there is none.
"""

from dataclasses import replace

from services.dialer.leads.commands import Details, Given
from services.dialer.leads.events import NO_ADDRESS
from services.dialer.leads.lead import MAX_ATTRIBUTES, MAX_NUMBERS, Lead

MERGED = frozenset({"numbers", "name", "address", "reference", "attributes", "zone"})


def details_of(lead: Lead) -> Details:
    """What is known of a lead, as it came in."""
    return Details(
        tuple(
            Given(lead.phones[each.number_id], each.place, each.kind)
            for each in lead.numbers
            if each.number_id in lead.phones
        ),
        lead.name,
        lead.address,
        lead.reference,
        lead.attributes,
        lead.zone,
        lead.priority,
    )


def merged(known: Details, more: Details) -> Details:
    phones = {each.phone for each in known.numbers}
    numbers = (*known.numbers, *(each for each in more.numbers if each.phone not in phones))
    attributes = {**more.attributes, **known.attributes}
    ordered = {name: attributes[name] for name in (*known.attributes, *more.attributes)}
    return replace(
        known,
        numbers=numbers[:MAX_NUMBERS],
        name=known.name or more.name,
        address=more.address if known.address == NO_ADDRESS else known.address,
        reference=known.reference or more.reference,
        attributes=dict(list(ordered.items())[:MAX_ATTRIBUTES]),
        zone=known.zone or more.zone,
    )
