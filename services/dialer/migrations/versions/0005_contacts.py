"""What was dialled before, by number and customer; and the rules that clients add."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "contacts",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("attempt_id", sa.Text, primary_key=True),
        sa.Column("campaign_id", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("customer_key", sa.Text, nullable=False),
        sa.Column("number_key", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("conversation", sa.Boolean, nullable=False),
        sa.Column("refused", sa.Boolean, nullable=False),
        sa.Column("abandoned", sa.Boolean, nullable=False),
    )
    op.create_index("contacts_of_number", "contacts", ["number_key", "at"])
    op.create_index(
        "contacts_of_customer",
        "contacts",
        ["client_id", "customer_key", "at"],
        postgresql_where=sa.text("customer_key <> ''"),
    )
    op.create_index("contacts_by_time", "contacts", ["at"])
    op.create_table(
        "own_rules",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("published_at", sa.BigInteger, nullable=False),
        sa.Column("published_by", sa.Text, nullable=False),
    )
