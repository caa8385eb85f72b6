"""What a rule said of one lead at one moment: on every attempt, and on every refusal. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleUse:
    """rule: `us-fl.hours`, `crm.do-not-call-list/centre/bloctel`; version: of that rule's data, or
    crm's of the list or consent. said: in words, without anything personal."""

    rule: str
    version: int
    said: str = ""
