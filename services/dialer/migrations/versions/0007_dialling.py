"""Who looks at which lead: the dialling worker asks four times a second."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index(
        "leads_looked_at",
        "leads",
        ["client_id", "campaign_id"],
        postgresql_where=sa.text("status = 'previewed'"),
    )
