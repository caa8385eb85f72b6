"""The migrations make exactly the tables that the code describes."""

from sqlalchemy.ext.asyncio import AsyncEngine

from services.conftest import differences
from services.dialer import service  # noqa: F401  (its tables become known)
from services.dialer.tables import metadata


async def test_tables_are_as_the_code_says(engine: AsyncEngine) -> None:
    assert await differences(engine, metadata) == []
