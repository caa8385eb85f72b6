"""A small domain for the tests of the event store: accounts, with notes that are personal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventkit.decider import Decider, Personal, Rejected
from eventkit.eventstore import Category, Change, Recorded
from eventkit.schema import EVENT_STORE_1


@dataclass(frozen=True, slots=True)
class Deposited:
    amount: int
    note: Personal[str] = ""


@dataclass(frozen=True, slots=True)
class ReminderSet:
    due_at: int


@dataclass(frozen=True, slots=True)
class ReminderFell:
    due_at: int


Event = Deposited | ReminderSet | ReminderFell


@dataclass(frozen=True, slots=True)
class Account:
    balance: int = 0
    notes: tuple[str, ...] = ()
    reminders: tuple[int, ...] = ()
    fallen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Deposit:
    amount: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class SetReminder:
    due_at: int


@dataclass(frozen=True, slots=True)
class LetReminderFall:
    due_at: int


Command = Deposit | SetReminder | LetReminderFall


def decide(command: Command, account: Account) -> Sequence[Event]:
    match command:
        case Deposit(amount, note):
            if account.balance + amount < 0:
                raise Rejected("not enough is there")
            return [Deposited(amount, note)]
        case SetReminder(due_at):
            return [] if due_at in account.reminders else [ReminderSet(due_at)]
        case LetReminderFall(due_at):
            if due_at % 10 == 7:
                raise Rejected("a reminder that ends in 7 cannot fall")
            return [ReminderFell(due_at)] if due_at in account.reminders else []


def evolve(account: Account, event: Event) -> Account:
    match event:
        case Deposited(amount, note):
            notes = (*account.notes, note)
            return replace(account, balance=account.balance + amount, notes=notes)
        case ReminderSet(due_at):
            return replace(account, reminders=(*account.reminders, due_at))
        case ReminderFell(due_at):
            left = tuple(other for other in account.reminders if other != due_at)
            return replace(account, reminders=left, fallen=(*account.fallen, due_at))


DECIDER: Decider[Command, Account, Event] = Decider(
    Account(), decide, evolve, (Deposited, ReminderSet, ReminderFell)
)

metadata = sa.MetaData()
balances = sa.Table(
    "balances",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("balance", sa.BigInteger, nullable=False),
    sa.Column("last_note", sa.Text, nullable=False),
)

_new = insert(balances)
_PUT = _new.on_conflict_do_update(
    index_elements=["client_id", "account_id"],
    set_={"balance": _new.excluded.balance, "last_note": _new.excluded.last_note},
)


async def project(connection: AsyncConnection, changes: Sequence[Change[Account, Event]]) -> None:
    rows = [
        {
            "client_id": change.client_id,
            "account_id": change.id,
            "balance": change.after.balance,
            "last_note": change.after.notes[-1] if change.after.notes else "",
        }
        for change in changes
    ]
    await connection.execute(_PUT, rows)


def message(recorded: Recorded[Event]) -> bytes:
    return msgspec.json.encode([recorded.stream_id, recorded.version, recorded.event_id])


def timers(account: Account) -> Mapping[str, int]:
    return {f"reminder-{due_at}": due_at for due_at in account.reminders}


def due(_: str, __: str, due_at: int) -> Command:
    return LetReminderFall(due_at)


def category(topic: str | None = None) -> Category[Command, Account, Event]:
    return Category(
        "account",
        DECIDER,
        topic=topic,
        message=message,
        project=project,
        timers=timers,
        due=due,
    )


ACCOUNTS = category()


async def make_tables(engine: AsyncEngine) -> None:
    """The event store's and the read model's."""
    async with engine.begin() as connection:
        for statement in EVENT_STORE_1:
            await connection.execute(sa.text(statement))
        await connection.run_sync(metadata.create_all)
