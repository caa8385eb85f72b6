"""What each capability that keeps something about people can do with it."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True)
class Person:
    """One customer and all records merged into it, under all ids that calls may name it by.

    customer_ids   crm's ids, the surviving one first
    references     those, and the client's own numbers: what `call-events` may carry as customer_id
    phones, emails normalised, of all records
    """

    client_id: str
    customer_ids: tuple[str, ...]
    references: tuple[str, ...]
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()


@dataclass
class Forgotten:
    """subjects: whose keys have to be destroyed, beside the customers'. cleaned: rows by table."""

    subjects: set[str] = field(default_factory=set)
    cleaned: dict[str, int] = field(default_factory=dict)


class Holding(Protocol):
    """Implemented by the `Holding` of each capability's `store.py`; put together in privacy/."""

    name: str

    async def export(self, connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
        """Everything that is held on the person, readable, oldest first."""
        ...

    async def forget(self, connection: AsyncConnection, person: Person) -> Forgotten:
        """Clean the read models of everything personal; what is counted stays."""
        ...
