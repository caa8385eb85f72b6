"""Orders: what they are, what was sold, whether a crew comes. Nothing personal."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("product_id", sa.Text, nullable=False),
        sa.Column("form_version", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("campaign_id", sa.Text, nullable=False),
        sa.Column("offer_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("drafted_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("placed_at", sa.BigInteger),
        sa.Column("confirmed_at", sa.BigInteger),
        sa.Column("fulfilled_at", sa.BigInteger),
        sa.Column("after_sale_until", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("end_reason", sa.Text, nullable=False),
        sa.Column("cancelled_by", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("total", sa.Numeric),
        sa.Column("monthly", sa.Numeric),
        sa.Column("visit_id", sa.Text, nullable=False),
        sa.Column("visit_status", sa.Text, nullable=False),
        sa.Column("crew_id", sa.Text, nullable=False),
        sa.Column("area_id", sa.Text, nullable=False),
        sa.Column("skill", sa.Text, nullable=False),
        sa.Column("visit_starts_at", sa.BigInteger),
        sa.Column("visit_ends_at", sa.BigInteger),
        sa.Column("visit_overdue", sa.Boolean, nullable=False),
    )
    by_time = ("drafted_at", "order_id")
    op.create_index("orders_by_time", "orders", ["client_id", *by_time])
    for name in ("customer", "product"):
        op.create_index(f"orders_by_{name}", "orders", ["client_id", f"{name}_id", *by_time])
    op.create_index("orders_by_status", "orders", ["client_id", "status", *by_time])
    for name, column in (("call", "call_id"), ("agent", "agent_id"), ("reference", "reference")):
        op.create_index(
            f"orders_by_{name}",
            "orders",
            ["client_id", column, *by_time],
            postgresql_where=sa.text(f"{column} <> ''"),
        )
    op.create_index(
        "orders_overdue",
        "orders",
        ["client_id", *by_time],
        postgresql_where=sa.text("visit_overdue"),
    )
