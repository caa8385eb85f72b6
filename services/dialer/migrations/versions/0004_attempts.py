"""Attempts, and what they come to for each campaign."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("attempt_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("campaign_id", sa.Text, nullable=False),
        sa.Column("list_id", sa.Text, nullable=False),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("number_id", sa.Text, nullable=False),
        sa.Column("number_of_attempt", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("country", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("dial_before", sa.BigInteger, nullable=False),
        sa.Column("answered_by", sa.Text, nullable=False),
        sa.Column("answered_at", sa.BigInteger),
        sa.Column("greeting_ended_at", sa.BigInteger),
        sa.Column("connected_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("rang", sa.BigInteger),
        sa.Column("waited", sa.BigInteger),
        sa.Column("talked", sa.BigInteger),
        sa.Column("callback_wanted", sa.Boolean, nullable=False),
        sa.Column("disposition", sa.Text, nullable=False),
        sa.Column("refusal_reason", sa.Text, nullable=False),
        sa.Column("converted", sa.Boolean, nullable=False),
    )
    for name, columns, where in (
        ("attempts_by_time", ["client_id", "started_at", "attempt_id"], None),
        ("attempts_by_campaign", ["client_id", "campaign_id", "started_at", "attempt_id"], None),
        ("attempts_by_lead", ["client_id", "lead_id", "started_at", "attempt_id"], None),
        (
            "attempts_by_customer",
            ["client_id", "customer_id", "started_at", "attempt_id"],
            "customer_id <> ''",
        ),
        (
            "attempts_by_agent",
            ["client_id", "agent_id", "started_at", "attempt_id"],
            "agent_id <> ''",
        ),
        ("attempts_open", ["started_at"], "ended_at IS NULL"),
    ):
        op.create_index(name, "attempts", columns, postgresql_where=where and sa.text(where))
    op.create_table(
        "attempt_totals",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("campaign_id", sa.Text, primary_key=True),
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
