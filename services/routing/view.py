"""The pools as the log says now, for edges that show them.

Restored from the worker's snapshots, and folded on by the same engine to the end of the log,
whether or not a worker is there.
"""

from collections.abc import Sequence

from eventkit.errors import Rejected
from eventkit.logview import LogView
from eventkit.records import Record
from services.routing import codec, engine
from services.routing import commands as c
from services.routing import events as e
from services.routing.pool import Pool

COMMANDS = "routing-commands"
SNAPSHOTS = "routing-snapshots"

Pools = LogView[Pool, c.Command, e.Event | e.Sent]


class PoolFold:
    """eventkit.logfold.Fold, as the worker's, without traces."""

    def decode(self, record: Record) -> tuple[str, c.Command]:
        command = codec.decode_command(record)
        return command.pool_id, command

    def apply(
        self, state: Pool | None, message: c.Command
    ) -> tuple[Pool | None, Sequence[e.Event | e.Sent]]:
        pool = Pool(message.pool_id) if state is None else state
        try:
            return pool, engine.apply(pool, message)
        except engine.Rejected as error:
            raise Rejected(error.reason, error.field) from error

    def encode_state(self, state: Pool) -> bytes:
        return codec.encode_pool(state)

    def decode_state(self, data: bytes) -> Pool:
        return codec.decode_pool(data)


def pools_view(bootstrap: str, timeout_s: float) -> Pools:
    """timeout_s: how long who asks waits for Kafka."""
    return LogView(
        PoolFold(),
        bootstrap=bootstrap,
        topic=COMMANDS,
        snapshot_topic=SNAPSHOTS,
        timeout_s=timeout_s,
    )
