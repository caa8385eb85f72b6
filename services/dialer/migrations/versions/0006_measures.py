"""The legal measure, by campaign and quarter of an hour."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "measures",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("campaign_id", sa.Text, primary_key=True),
        sa.Column("quarter", sa.BigInteger, primary_key=True),
        sa.Column("waits", ARRAY(sa.BigInteger), nullable=False),
        sa.Column("connected", sa.BigInteger, nullable=False),
        sa.Column("dropped", sa.BigInteger, nullable=False),
        sa.Column("unknown_connected", sa.BigInteger, nullable=False),
        sa.Column("unknown_dropped", sa.BigInteger, nullable=False),
        sa.Column("machines", sa.BigInteger, nullable=False),
    )
