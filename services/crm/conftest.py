"""The database of crm, for all of its tests."""

import pytest

from services.conftest import Postgres


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> str:
    """The URL of a fresh one."""
    return postgres.database("crm", "services.crm:migrations")
