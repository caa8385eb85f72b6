"""What was dialled before, by number and customer."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None: ...
