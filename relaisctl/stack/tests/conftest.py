"""A home for a stack under test."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Not in pytest's own folder: that is closed to the user that PostgreSQL runs as for root."""
    with tempfile.TemporaryDirectory(prefix="relais-") as folder:
        yield Path(folder)
