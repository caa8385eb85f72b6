"""What order-events say, for customers' timelines."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_VERSIONS = ("version", "origin_version", "status_version", "visit_version", "price_version")


def upgrade() -> None:
    op.create_table(
        "timeline_orders",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text(collation="C"), primary_key=True),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("product_id", sa.Text),
        sa.Column("customer_id", sa.Text),
        sa.Column("call_id", sa.Text),
        sa.Column("status", sa.Text),
        sa.Column("visit", sa.Text),
        sa.Column("visit_at", sa.BigInteger),
        sa.Column("total", sa.Text),
        sa.Column("monthly", sa.Text),
        sa.Column("currency", sa.Text),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in _VERSIONS),
    )
    op.create_table(
        "unknown_order_events",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("event", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("unknown_order_events")
    op.drop_table("timeline_orders")
