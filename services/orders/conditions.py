"""When something of a form holds: a field that is shown, a price, a visit, a point. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Scalar = str | int | bool


@dataclass(frozen=True, slots=True)
class When:
    """Holds where the field's answer is one of these; a field without an answer holds nothing."""

    field: str
    is_in: tuple[Scalar, ...]

    def holds(self, answers: Mapping[str, Any]) -> bool:
        answer = answers.get(self.field)
        # True is 1 to Python, and another answer to a person.
        return any(
            answer == one and isinstance(answer, bool) is isinstance(one, bool)
            for one in self.is_in
        )


def holds(when: When | None, answers: Mapping[str, Any]) -> bool:
    """Without a condition: always."""
    return when is None or when.holds(answers)
