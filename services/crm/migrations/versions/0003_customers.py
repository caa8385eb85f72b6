"""Customers: records, own numbers, contacts, the words of names.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ORDERED = sa.Text(collation="C")


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("customer_id", _ORDERED, primary_key=True),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("phones", ARRAY(sa.Text), nullable=False),
        sa.Column("emails", ARRAY(sa.Text), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("preferred_channel", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("erased_at", sa.BigInteger),
        sa.Column("merged_into", sa.Text),
        sa.Column("survivor_id", sa.Text, nullable=False),
    )
    op.create_index(
        "customers_merged",
        "customers",
        ["client_id", "survivor_id"],
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.create_table(
        "customer_numbers",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Text, primary_key=True),
        sa.Column("customer_id", sa.Text, nullable=False),
    )
    op.create_table(
        "customer_contacts",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("contact", sa.Text, primary_key=True),
        sa.Column("customer_id", sa.Text, primary_key=True),
    )
    op.create_table(
        "customer_words",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("word", _ORDERED, primary_key=True),
        sa.Column("name_key", _ORDERED, primary_key=True),
        sa.Column("customer_id", _ORDERED, primary_key=True),
    )


def downgrade() -> None:
    for table in ("customer_words", "customer_contacts", "customer_numbers", "customers"):
        op.drop_table(table)
