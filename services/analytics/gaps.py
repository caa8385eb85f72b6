"""Holes in the versions of agents' events, seen as they are loaded.

An agent's events are numbered within a pool, without holes, and come in order. So a number that is
greater than the next one says that events were lost on the way, or refused. What was loaded before
this process is not known here: the view `agent_gaps` sees every hole.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from eventkit.records import Batch
from services.analytics.rows import Rows

Agent = tuple[str, str]
"""Pool and agent."""


class Gap(NamedTuple):
    """These versions are missing, the last one included."""

    pool_id: str
    agent_id: str
    first: int
    last: int


@dataclass(slots=True)
class _Run:
    """Batches of a partition that followed each other. end: where the next one begins."""

    end: int
    newest: dict[Agent, int] = field(default_factory=dict)


class Gaps:
    def __init__(self) -> None:
        self._runs: dict[int, _Run] = {}

    def begin(self, batch: Batch) -> None:
        """The batch whose rows come next. If it does not follow the last one, all is forgotten."""
        run = self._runs.get(batch.partition)
        if run is None or run.end != batch.first_offset:
            run = self._runs[batch.partition] = _Run(batch.next_offset)
        run.end = batch.next_offset

    def look(self, partition: int, rows: Rows) -> list[Gap]:
        """The gaps before and between these rows; before an agent's first ones there is none."""
        newest = self._runs[partition].newest
        agents = rows.columns.get("agent_id", [])
        pools = rows.columns.get("pool_id") or [""] * len(agents)
        found: dict[Agent, set[int]] = {}
        for agent, version in zip(
            zip(pools, agents, strict=True), rows.columns.get("version", []), strict=True
        ):
            found.setdefault(agent, set()).add(version)
        gaps = []
        for agent, versions in found.items():
            before = newest.get(agent) or min(versions) - 1
            last = newest[agent] = max(before, *versions)
            if last - before != sum(version > before for version in versions):
                for version in sorted(versions):
                    if version > before + 1:
                        gaps.append(Gap(*agent, before + 1, version - 1))
                    before = max(before, version)
        return gaps
