"""Catalogues: topics, dispositions, offers, refusal reasons.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "catalogue_topics",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("topic_id", sa.Text, primary_key=True),
        sa.Column("parent", sa.Text),
        sa.Column("name", JSONB, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
        sa.Column("path", ARRAY(sa.Text), nullable=False),
        sa.Column("selectable", sa.Boolean, nullable=False),
    )
    op.create_table(
        "catalogue_dispositions",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("disposition", sa.Text, primary_key=True),
        sa.Column("name", JSONB, nullable=False),
        sa.Column("closes", sa.Boolean, nullable=False),
        sa.Column("flags", ARRAY(sa.Text), nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
    )
    op.create_table(
        "catalogue_offers",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("offer_id", sa.Text, primary_key=True),
        sa.Column("name", JSONB, nullable=False),
        sa.Column("price", sa.Numeric),
        sa.Column("currency", sa.Text),
        sa.Column("valid_from", sa.Date),
        sa.Column("valid_until", sa.Date),
        sa.Column("retired", sa.Boolean, nullable=False),
    )
    op.create_table(
        "catalogue_refusal_reasons",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("name", JSONB, nullable=False),
        sa.Column("needs_date", sa.Boolean, nullable=False),
        sa.Column("needs_text", sa.Boolean, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    for table in ("refusal_reasons", "offers", "dispositions", "topics"):
        op.drop_table(f"catalogue_{table}")
