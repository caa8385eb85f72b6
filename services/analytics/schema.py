"""The tables and views: numbered SQL files, applied in order when a process starts.

Every statement can be applied again without harm (IF NOT EXISTS, OR REPLACE), so two processes
that start at once, or one that is killed half way, need no lock. A file that has been applied is
never edited: a change is a new file.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from clickhouse_driver import Client

MIGRATIONS = Path(__file__).parent / "migrations"

_APPLIED = """\
CREATE TABLE IF NOT EXISTS schema_migrations
(name String, sha256 FixedString(64), applied_at DateTime64(3, 'UTC') DEFAULT now64(3))
ENGINE = ReplacingMergeTree ORDER BY name"""


class MigrationChanged(Exception):
    """A file that this database has been built with now says something else."""


def migrate(url: str, folder: Path = MIGRATIONS) -> list[str]:
    """Create the URL's database and whatever it lacks; returns the names of the files applied.

    Raises MigrationChanged before anything is applied, and what clickhouse-driver raises.
    """
    database = urlsplit(url).path.strip("/")
    with Client.from_url(urlunsplit(urlsplit(url)._replace(path="/default"))) as client:
        client.execute(f"CREATE DATABASE IF NOT EXISTS {database}")
    with Client.from_url(url) as client:
        client.execute(_APPLIED)
        applied = dict(client.execute("SELECT name, sha256 FROM schema_migrations"))
        files = {path.name: path.read_text() for path in sorted(folder.glob("*.sql"))}
        sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
        for name in files:
            if applied.get(name, sums[name]) != sums[name]:
                raise MigrationChanged(f"{name} was changed after it had been applied")
        missing = [name for name in files if name not in applied]
        for name in missing:
            for statement in statements(files[name]):
                client.execute(statement)
            client.execute(
                "INSERT INTO schema_migrations (name, sha256) VALUES", [(name, sums[name])]
            )
    return missing


def statements(script: str) -> Iterator[str]:
    """The statements of a script: each ends with a semicolon at the end of a line."""
    without_comments = re.sub(r"^--.*\n", "", script, flags=re.MULTILINE)
    for statement in re.split(r";\s*(?:\n|$)", without_comments):
        if statement.strip():
            yield statement.strip()
