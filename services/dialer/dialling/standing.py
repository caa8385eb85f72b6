"""How campaigns stand by the legal measure, for pacing, and what follows when a period cannot end
within the limit any more."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from math import ceil
from zoneinfo import ZoneInfo

from eventkit.clock import EPOCH
from services.dialer.campaigns.campaign import Campaign, LowerMode, RestoreMode
from services.dialer.measure import measure as m
from services.dialer.measure.store import day_of
from services.dialer.pacing.scene import Measure


@dataclass(frozen=True, slots=True)
class Stands:
    """measure: for a scene. command: what the campaign is to be told, if anything."""

    measure: Measure
    connect_seconds: float
    command: LowerMode | RestoreMode | None


def stand(
    campaign: Campaign, days: Mapping[date, m.Counts], zone: ZoneInfo, now: int, in_uk: bool
) -> Stands:
    """Of a campaign that has been started. in_uk: it calls British numbers."""
    settings, started_at = campaign.settings, campaign.started_at
    assert settings is not None
    first_day, today = day_of(started_at or now, zone.key), day_of(now, zone.key)
    contract = settings.contract
    own = (
        m.Contract(contract.limit, contract.connect_seconds, contract.period_days)
        if contract
        else None
    )
    standing = m.standing(days, first_day, today, own, in_uk)
    strictest = standing.strictest
    measure = Measure(
        round(strictest.live),
        ceil(strictest.abandoned),
        strictest.limit,
        min(settings.target_abandonment, strictest.limit),
        midnight(strictest.first_day, zone),
        midnight(strictest.last_day, zone, days_later=1),
    )
    return Stands(measure, standing.connect_seconds, _command(campaign, standing, days, zone, now))


def _command(
    campaign: Campaign,
    standing: m.Standing,
    days: Mapping[date, m.Counts],
    zone: ZoneInfo,
    now: int,
) -> LowerMode | RestoreMode | None:
    today = day_of(now, zone.key)
    lost = [
        each
        for each in standing.readings
        if m.cannot_end_within(each, m.expected_remaining_live(days, today, each.last_day))
    ]
    if campaign.lowered is not None:
        # Not before: back and forth, each stay would use up what the other has won.
        within = all(each.compliant for each in standing.readings)
        return (
            RestoreMode(now)
            if within or (now >= campaign.lowered.period_ends_at and not lost)
            else None
        )
    if not lost or not campaign.mode.overdials:
        return None
    worst = max(lost, key=lambda each: each.rate - each.limit)
    return LowerMode(
        now,
        worst.measure,
        worst.rate,
        worst.limit,
        midnight(worst.first_day, zone),
        midnight(worst.last_day, zone, days_later=1),
    )


def midnight(day: date, zone: ZoneInfo, days_later: int = 0) -> int:
    """When a day begins on the wall of a zone, microseconds since 1970."""
    begins = datetime.combine(date.fromordinal(day.toordinal() + days_later), time(), zone)
    return round((begins - EPOCH).total_seconds() * 1_000_000)
