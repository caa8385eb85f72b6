"""One upsert that does to a table's rows what heard.AllHeard does in memory."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crm.interactions.heard import AllHeard, Groups


def version_columns(groups: Groups) -> list[sa.Column[Any]]:
    """`version`, the highest that was heard, and that of each group, `<group>_version`."""
    names = ["version", *(f"{group}_version" for group in groups)]
    return [sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in names]


class Merge:
    """table: its key is client_id and an id; it has `first_at`, version_columns and the facts of
    all groups. returning: the columns that are told of rows that have become other ones."""

    def __init__(self, table: sa.Table, groups: Groups, returning: Sequence[str] = ()) -> None:
        self._groups = groups
        self._key = [column.name for column in table.primary_key.columns]
        self._statement: sa.Executable = self._upsert(table)
        if returning:
            self._statement = self._upsert(table).returning(*(table.c[name] for name in returning))

    def _upsert(self, table: sa.Table) -> Insert:
        """One statement for any number of rows: each parameter is a column."""
        versions = [f"{group}_version" for group in self._groups]
        facts = [name for names in self._groups.values() for name in names]
        put = [*self._key, "version", "first_at", *versions, *facts]
        columns = [table.c[name] for name in put]
        new = (
            sa.func.unnest(*(sa.bindparam(one.name, type_=ARRAY(one.type)) for one in columns))
            .table_valued(*(sa.column(one.name, one.type) for one in columns), name="new")
            .render_derived()
        )
        # In one order, so that two who write the same rows never wait for each other.
        rows = sa.select(*(new.c[name] for name in put)).order_by(*(new.c[n] for n in self._key))
        made = insert(table).from_select(put, rows)
        newer = {
            group: made.excluded[f"{group}_version"] > table.c[f"{group}_version"]
            for group in self._groups
        }
        values: dict[str, Any] = {
            name: sa.case((newer[group], made.excluded[name]), else_=table.c[name])
            for group, names in self._groups.items()
            for name in names
        }
        for name in ("version", *versions):
            values[name] = sa.func.greatest(table.c[name], made.excluded[name])
        values["first_at"] = sa.func.least(table.c.first_at, made.excluded.first_at)
        return made.on_conflict_do_update(
            index_elements=self._key,
            set_=values,
            # What has been heard already does not even touch the row.
            where=sa.or_(
                made.excluded.version > table.c.version,
                made.excluded.first_at < table.c.first_at,
                *newer.values(),
            ),
        )

    async def __call__(self, connection: AsyncConnection, heard: AllHeard) -> Sequence[sa.Row[Any]]:
        """Add what was heard to the rows; what was heard before changes nothing. Returns
        `returning` of the rows that are other ones now."""
        if not heard:
            return []
        columns: dict[str, list[Any]] = {
            name: [key[place] for key in heard] for place, name in enumerate(self._key)
        }
        columns["version"] = [one.version for one in heard.values()]
        columns["first_at"] = [one.first_at for one in heard.values()]
        for group, names in self._groups.items():
            nothing = (0, (None,) * len(names))
            facts = [one.facts.get(group, nothing) for one in heard.values()]
            columns[f"{group}_version"] = [version for version, _ in facts]
            for place, name in enumerate(names):
                columns[name] = [values[place] for _, values in facts]
        done = await connection.execute(self._statement, columns)
        return done.all() if done.returns_rows else []
