"""Complaints, wishes with their voices, and the policies that clocks follow.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "complaints",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("complaint_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("severity", sa.SmallInteger, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("about_kind", sa.SmallInteger, nullable=False),
        sa.Column("about_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("on_behalf", sa.Boolean, nullable=False),
        sa.Column("date_corrected", sa.Boolean, nullable=False),
        sa.Column("assignee", sa.Text, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reasons", ARRAY(sa.Text), nullable=False),
        sa.Column("responsible_kind", sa.SmallInteger, nullable=False),
        sa.Column("responsible_id", sa.Text, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("ran_out", sa.Boolean, nullable=False),
    )
    op.create_index(
        "complaints_by_opening", "complaints", ["client_id", "opened_at", "complaint_id"]
    )
    op.create_index(
        "complaints_by_customer",
        "complaints",
        ["client_id", "customer_id", "opened_at", "complaint_id"],
        postgresql_where=sa.text("customer_id <> ''"),
    )
    op.create_index(
        "complaints_by_reference",
        "complaints",
        ["client_id", "reference"],
        unique=True,
        postgresql_where=sa.text("reference <> ''"),
    )
    op.create_index(
        "complaints_not_closed",
        "complaints",
        ["client_id", "opened_at", "complaint_id"],
        postgresql_where=sa.text("phase <> 'closed'"),
    )
    op.create_table(
        "complaint_policies",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("published_at", sa.BigInteger, nullable=False),
        sa.Column("policy", JSONB, nullable=False),
    )
    op.create_table(
        "wishes",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("wish_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("topic_id", sa.Text, nullable=False),
        sa.Column("expressed_at", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("merged_into", sa.Text, nullable=False),
        sa.Column("root_id", sa.Text, nullable=False),
    )
    op.create_index("wishes_by_root", "wishes", ["client_id", "root_id"])
    op.create_index("wishes_by_time", "wishes", ["client_id", "expressed_at", "wish_id"])
    op.create_index(
        "wishes_merged",
        "wishes",
        ["client_id", "merged_into"],
        postgresql_where=sa.text("merged_into <> ''"),
    )
    op.create_table(
        "wish_voices",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("wish_id", sa.Text, primary_key=True),
        sa.Column("voice", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
