"""The event store: events, idempotent commands, timers, erased subjects, the relay's position."""

from alembic import op

from eventkit.schema import EVENT_STORE_1

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in EVENT_STORE_1:
        op.execute(statement)
