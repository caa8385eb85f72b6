"""Leads, their numbers, how many there are, imports of lists."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ORDERED = sa.Text(collation="C")


def upgrade() -> None:
    op.create_table(
        "leads",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("lead_id", _ORDERED, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("campaign_id", sa.Text, nullable=False),
        sa.Column("list_id", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("place", _ORDERED, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("attempt_id", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_because", sa.Text, nullable=False),
        sa.Column("callback_from", sa.BigInteger),
        sa.Column("callback_until", sa.BigInteger),
        sa.Column("callback_escalated", sa.Boolean, nullable=False),
        sa.Column("preview_until", sa.BigInteger),
        sa.Column("closed_reason", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    for name, columns, where in (
        (
            "leads_due",
            ["client_id", "campaign_id", "turn", "place", "due_at"],
            "status <> 'closed'",
        ),
        ("leads_of_campaign", ["client_id", "campaign_id", "lead_id"], None),
        ("leads_of_customer", ["client_id", "customer_id"], "customer_id <> ''"),
        (
            "leads_called_back",
            ["client_id", "callback_until", "lead_id"],
            "callback_until IS NOT NULL",
        ),
    ):
        op.create_index(name, "leads", columns, postgresql_where=where and sa.text(where))
    op.create_table(
        "lead_numbers",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("lead_id", _ORDERED, primary_key=True),
        sa.Column("number_key", sa.LargeBinary, primary_key=True),
    )
    op.create_index("lead_numbers_of_key", "lead_numbers", ["number_key"])
    op.create_table(
        "lead_totals",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("campaign_id", sa.Text, primary_key=True),
        sa.Column("list_id", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lead_imports",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("import_id", _ORDERED, primary_key=True),
        sa.Column("campaign_id", sa.Text, nullable=False),
        sa.Column("list_id", sa.Text, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
    )
    op.create_table(
        "lead_import_parts",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("import_id", _ORDERED, primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
    )
