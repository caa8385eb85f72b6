"""Consents, do-not-call lists, contact policies, and what is left to do of erasures."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("consent_id", sa.Text, primary_key=True),
        sa.Column("address_hash", sa.LargeBinary, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("given_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("withdrawn_at", sa.BigInteger),
        sa.Column("own_subject", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_index("consents_of_address", "consents", ["client_id", "address_hash"])
    op.create_index(
        "consents_of_customer",
        "consents",
        ["client_id", "customer_id"],
        postgresql_where=sa.text("customer_id <> ''"),
    )
    op.create_table(
        "erased_addresses",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("address_hash", sa.LargeBinary, primary_key=True),
        sa.Column("erased_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "do_not_call_lists",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("list_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("channels", ARRAY(sa.Text), nullable=False),
        sa.Column("purposes", ARRAY(sa.Text), nullable=False),
        sa.Column("max_age_days", sa.Integer),
        sa.Column("required", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("as_of", sa.BigInteger),
        sa.Column("importing", sa.Text, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
    )
    op.create_table(
        "do_not_call_entries",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("address_hash", sa.LargeBinary, primary_key=True),
        sa.Column("list_id", sa.Text, primary_key=True),
        sa.Column("since_version", sa.BigInteger, primary_key=True),
        sa.Column("listed_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("until_version", sa.BigInteger),
    )
    op.create_index("do_not_call_entries_of_list", "do_not_call_entries", ["client_id", "list_id"])
    op.create_table(
        "do_not_call_imported",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("list_id", sa.Text, primary_key=True),
        sa.Column("import_id", sa.Text, primary_key=True),
        sa.Column("address_hash", sa.LargeBinary, primary_key=True),
        sa.Column("expires_at", sa.BigInteger),
    )
    op.create_table(
        "contact_policies",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("rules", JSONB, nullable=False),
    )
    op.create_table(
        "pending_erasures",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("subjects", ARRAY(sa.Text), nullable=False),
        sa.Column("tables", ARRAY(sa.Text), nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "pending_erasures",
        "contact_policies",
        "do_not_call_imported",
        "do_not_call_entries",
        "do_not_call_lists",
        "erased_addresses",
        "consents",
    ):
        op.drop_table(table)
