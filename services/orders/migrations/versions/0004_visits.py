"""Visits: crews, their days off, areas, and bookings, of which no two of a crew can overlap."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, INT8RANGE, ExcludeConstraint

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "crews",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("crew_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, sa.Identity(always=True), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("zone", sa.Text, nullable=False),
        sa.Column("travel_minutes", sa.Integer, nullable=False),
        sa.Column("areas", ARRAY(sa.Text), nullable=False),
        sa.Column("skills", ARRAY(sa.Text), nullable=False),
        sa.Column("week", sa.LargeBinary, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
        sa.UniqueConstraint("number", name="crews_number"),
    )
    op.create_table(
        "crew_days_off",
        sa.Column("crew_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("quarters", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["crew_number"], ["crews.number"], name="crew_days_off_crew"),
    )
    op.create_table(
        "areas",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("area_id", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("country", sa.Text, nullable=False),
        sa.Column("dissolved", sa.Boolean, nullable=False),
    )
    op.create_table(
        "area_prefixes",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("country", sa.Text, primary_key=True),
        sa.Column("prefix", sa.Text, primary_key=True),
        sa.Column("area_id", sa.Text, nullable=False),
        sa.Index("area_prefixes_by_area", "client_id", "area_id"),
    )
    op.create_table(
        "bookings",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("visit_id", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("crew_number", sa.Integer, nullable=False),
        sa.Column("area_id", sa.Text, nullable=False),
        sa.Column("skill", sa.Text, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("busy_until", sa.BigInteger, nullable=False),
        sa.Column("fits", sa.Boolean, nullable=False),
        # The crew's number above, minutes since 1970 below: one range says who is busy and when.
        sa.Column(
            "span",
            INT8RANGE,
            sa.Computed(
                "int8range((crew_number::bigint << 32) + starts_at / 60000000,"
                " (crew_number::bigint << 32) + busy_until / 60000000)",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["crew_number"], ["crews.number"], name="bookings_crew"),
        sa.CheckConstraint(
            "starts_at >= 0 AND starts_at < ends_at AND ends_at <= busy_until"
            " AND busy_until < 1::bigint << 57"
            " AND starts_at % 900000000 = 0 AND busy_until % 900000000 = 0",
            name="bookings_on_quarters",
        ),
        ExcludeConstraint(("span", "&&"), name="bookings_apart", using="gist"),
        sa.Index("bookings_by_crew", "crew_number", "starts_at", postgresql_include=["busy_until"]),
        sa.Index("bookings_by_start", "client_id", "starts_at", "visit_id"),
        sa.Index(
            "bookings_without_crew",
            "client_id",
            "starts_at",
            "visit_id",
            postgresql_where=sa.text("NOT fits"),
        ),
    )


def downgrade() -> None:
    for table in ("bookings", "area_prefixes", "areas", "crew_days_off", "crews"):
        op.drop_table(table)
