"""The legal measure, by campaign and day."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None: ...
