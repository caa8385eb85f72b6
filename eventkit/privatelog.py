"""What may be logged of an error where people's data pass: databases and validators quote, in their
errors' texts, the values that they were given."""

import traceback

MAX_LINES = 500


def anonymous_trace(error: BaseException) -> str:
    """The types and places of an error and of its causes, without their texts."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(lines) < MAX_LINES:
        lines.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        lines += [line.rstrip() for line in traceback.format_tb(cause.__traceback__)]
        cause = cause.__cause__ or cause.__context__
    return "\n".join(lines)
