"""Rows of the format, made up: the files themselves are not part of the product."""

from relaisctl.replay.anonymous_bank import COLUMNS

HEADER = "\t".join(COLUMNS)

ANSWERED = {
    "vru+line": "AA0302", "call_id": "51007", "customer_id": "40412345", "priority": "1",
    "type": "PS", "date": "990817", "vru_entry": "9:15:02", "vru_exit": "9:15:11",
    "vru_time": "9", "q_start": "9:15:11", "q_exit": "9:15:53", "q_time": "42",
    "outcome": "AGENT", "ser_start": "9:15:52", "ser_exit": "9:19:02", "ser_time": "190",
    "server": "RIVKA",
}  # fmt: skip
NOT = {"ser_start": "0:00:00", "ser_exit": "0:00:00", "ser_time": "0", "server": "NO_SERVER"}
ABANDONED = ANSWERED | NOT | {"call_id": "51008", "outcome": "HANG"}
LEFT = ABANDONED | {"call_id": "51009", "q_start": "0:00:00", "q_exit": "0:00:00", "q_time": "0"}
PHANTOM = ABANDONED | {"call_id": "51010", "outcome": "PHANTOM"}


def line(base: dict[str, str] | None = None, /, **changed: str) -> str:
    """A row of the file. Keywords name columns; `trunk` and `call` are the first two."""
    names = {"trunk": "vru+line", "call": "call_id"}
    values = (base or ANSWERED) | {names.get(key, key): value for key, value in changed.items()}
    return "\t".join(values[name] for name in COLUMNS)
