"""Promotions: what is off the price of which products, and when."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("promotion_id", sa.Text, primary_key=True),
        sa.Column("products", ARRAY(sa.Text), nullable=False),
        sa.Column("valid_from", sa.BigInteger, nullable=False),
        sa.Column("valid_until", sa.BigInteger, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("promotion", sa.Text, nullable=False),
    )
