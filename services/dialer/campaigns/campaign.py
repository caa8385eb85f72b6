"""The life of a campaign. One stream each. Pure.

    drafted -> running <-> paused -> stopped

It is arranged anew at any time before it is stopped, within `plan.check_change` once it has run.
Paused or stopped, nothing new is dialled, and what is in flight goes on to its end. A goal that is
reached, a budget that is spent and `ends_at` stop it by themselves.

While it runs, the measure can take overdialling away (`LowerMode`): one call for each free agent,
until it is given back (`RestoreMode`). A pause does not give it back, and neither does another
ratio; whoever arranges a mode that does not overdial needs nothing given back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from eventkit.decider import Decider, Invalid, NotFound, Rejected
from services.dialer.campaigns import plan
from services.dialer.campaigns.plan import CODE, Mode, Settings, Totals

END: Final = "end"
"""The timer."""
BY_HAND: Final = "by-hand"
EXHAUSTED: Final = "exhausted"
ENDED: Final = "ended"
MEASURES: Final = ("us", "uk", "contract")


class Status(StrEnum):
    NONE = "none"
    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Arrange:
    """Draft it, or say how it is to be from now on."""

    at: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class Start:
    """Also after a pause."""

    at: int


@dataclass(frozen=True, slots=True)
class Pause:
    """reason: a code."""

    at: int
    reason: str = BY_HAND


@dataclass(frozen=True, slots=True)
class Stop:
    """For good. reason: a code."""

    at: int
    reason: str = BY_HAND


@dataclass(frozen=True, slots=True)
class LowerMode:
    """The period of this measure cannot end within the limit any more. rate, limit: shares."""

    at: int
    measure: str
    rate: float
    limit: float
    period_began_at: int
    period_ends_at: int


@dataclass(frozen=True, slots=True)
class RestoreMode:
    """Another period has begun, or the measure is within the limit again."""

    at: int


@dataclass(frozen=True, slots=True)
class Count:
    """What it has done so far, held against its goals. open_leads: how many leads can still be
    dialled, now or later; None: not looked at."""

    at: int
    totals: Totals
    open_leads: int | None = None


@dataclass(frozen=True, slots=True)
class End:
    """What the timer says at `ends_at`, which is `at`."""

    at: int


Command = Arrange | Start | Pause | Stop | LowerMode | RestoreMode | Count | End


@dataclass(frozen=True, slots=True)
class CampaignDrafted:
    at: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class CampaignRevised:
    at: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class CampaignStarted:
    at: int


@dataclass(frozen=True, slots=True)
class CampaignPaused:
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class CampaignStopped:
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class CampaignModeLowered:
    at: int
    from_mode: Mode
    to_mode: Mode
    measure: str
    rate: float
    limit: float
    period_began_at: int
    period_ends_at: int


@dataclass(frozen=True, slots=True)
class CampaignModeRestored:
    at: int
    mode: Mode


Event = (
    CampaignDrafted
    | CampaignRevised
    | CampaignStarted
    | CampaignPaused
    | CampaignStopped
    | CampaignModeLowered
    | CampaignModeRestored
)


@dataclass(frozen=True, slots=True)
class Campaign:
    """started_at: the first time, None before; periods of the measure begin with that day.
    status_reason: of a pause or a stop. lowered: while the measure holds it down."""

    settings: Settings | None = None
    status: Status = Status.NONE
    status_reason: str = ""
    drafted_at: int = 0
    started_at: int | None = None
    stopped_at: int | None = None
    lowered: CampaignModeLowered | None = None

    @property
    def mode(self) -> Mode:
        """The one that holds now."""
        assert self.settings is not None
        return self.settings.mode if self.lowered is None else self.lowered.to_mode

    def dials(self, now: int) -> bool:
        """Whether it may dial at this moment, as far as it is its own matter."""
        if self.settings is None or self.status is not Status.RUNNING:
            return False
        starts, ends = self.settings.starts_at, self.settings.ends_at
        return (starts is None or now >= starts) and (ends is None or now < ends)


def no_callbacks(state: Campaign) -> str:
    """Why this campaign cannot call back who asked another one for it; "": it can. A draft and a
    pause can: what is promised waits, and is escalated where it waits too long."""
    if state.settings is None:
        return "there is no such campaign"
    if not state.settings.wants_agents:
        return "the campaign has no agents to call back"
    return "the campaign is stopped, for good" if state.status is Status.STOPPED else ""


def decide(command: Command, state: Campaign) -> Sequence[Event]:
    """Raises Invalid, Rejected (why the step is illegal now) and NotFound."""
    if isinstance(command, Arrange):
        return _arrange(command, state)
    settings = state.settings
    if settings is None:
        raise NotFound("campaign")
    status = state.status
    match command:
        case Start(at):
            if status is Status.RUNNING:
                return []
            _not_stopped(state)
            if settings.ends_at is not None and at >= settings.ends_at:
                raise Rejected("its end has passed", "ends_at")
            return [CampaignStarted(at)]
        case Pause(at, reason):
            _reason(reason)
            if status is Status.PAUSED:
                return []
            if status is not Status.RUNNING:
                raise Rejected(f"a campaign that is {_IS[status]} cannot be paused")
            return [CampaignPaused(at, reason)]
        case Stop(at, reason):
            _reason(reason)
            return [] if status is Status.STOPPED else [CampaignStopped(at, reason)]
        case LowerMode():
            return _lower(command, state)
        case RestoreMode(at):
            if state.lowered is None or status is Status.STOPPED:
                return []
            return [CampaignModeRestored(at, settings.mode)]
        case Count(at, totals, open_leads):
            if status is not Status.RUNNING:
                return []
            reason = plan.reached(settings, totals)
            if not reason and settings.stop_when_exhausted and open_leads == 0:
                reason = EXHAUSTED
            return [CampaignStopped(at, reason)] if reason else []
        case End(at):
            due = timers(state).get(END)
            return [CampaignStopped(at, ENDED)] if due is not None and due <= at else []


_IS: Final[Mapping[Status, str]] = {
    Status.DRAFT: "a draft",
    Status.RUNNING: "running",
    Status.PAUSED: "paused",
    Status.STOPPED: "stopped",
}


def _arrange(command: Arrange, state: Campaign) -> list[Event]:
    at, settings = command.at, command.settings
    plan.check(settings)
    if state.settings is None:
        return [CampaignDrafted(at, settings)]
    if state.settings == settings:
        return []
    _not_stopped(state)
    if state.started_at is not None:
        plan.check_change(state.settings, settings)
    return [CampaignRevised(at, settings)]


def _lower(command: LowerMode, state: Campaign) -> list[Event]:
    assert state.settings is not None
    if command.measure not in MEASURES:
        raise Invalid("measure", f"must be one of {', '.join(MEASURES)}")
    if state.status is not Status.RUNNING or not state.mode.overdials:
        return []
    return [
        CampaignModeLowered(
            command.at,
            state.mode,
            Mode.PROGRESSIVE,
            command.measure,
            command.rate,
            command.limit,
            command.period_began_at,
            command.period_ends_at,
        )
    ]


def _not_stopped(state: Campaign) -> None:
    if state.status is Status.STOPPED:
        raise Rejected("the campaign is stopped, for good")


def _reason(reason: str) -> None:
    if not CODE.fullmatch(reason):
        raise Invalid("reason", f"must match ^{CODE.pattern}$")


def timers(state: Campaign) -> Mapping[str, int]:
    """Its end, as long as it can still come."""
    ends = state.settings.ends_at if state.settings is not None else None
    if ends is None or state.status not in (Status.RUNNING, Status.PAUSED):
        return {}
    return {END: ends}


def due(_: str, __: str, due_at: int) -> Command:
    """What the timer says."""
    return End(due_at)


def evolve(state: Campaign, event: Event) -> Campaign:
    match event:
        case CampaignDrafted(at, settings):
            return Campaign(settings, Status.DRAFT, drafted_at=at)
        case CampaignRevised(_, settings):
            lowered = state.lowered if settings.mode.overdials else None
            return replace(state, settings=settings, lowered=lowered)
        case CampaignStarted(at):
            first = at if state.started_at is None else state.started_at
            return replace(state, status=Status.RUNNING, status_reason="", started_at=first)
        case CampaignPaused(_, reason):
            return replace(state, status=Status.PAUSED, status_reason=reason)
        case CampaignStopped(at, reason):
            return replace(state, status=Status.STOPPED, status_reason=reason, stopped_at=at)
        case CampaignModeLowered():
            return replace(state, lowered=event)
        case CampaignModeRestored():
            return replace(state, lowered=None)


DECIDER: Final[Decider[Command, Campaign, Event]] = Decider(
    initial=Campaign(),
    decide=decide,
    evolve=evolve,
    events=(
        CampaignDrafted,
        CampaignRevised,
        CampaignStarted,
        CampaignPaused,
        CampaignStopped,
        CampaignModeLowered,
        CampaignModeRestored,
    ),
)
