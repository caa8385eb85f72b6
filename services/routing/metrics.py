"""Every metric of routing, and what its attributes are."""

from eventkit.telemetry import meter

REPORTS = meter.create_counter(
    "relais.routing.reports", "{report}", "Reports at the edges, by outcome and command"
)
"""outcome: accepted, invalid or unavailable; command: the kind of report"""

EVENTS = meter.create_counter(
    "relais.routing.events", "{event}", "Events that the engine has given, by kind"
)
"""event: CallOffered, AgentReserved, ..."""

WAITED = meter.create_histogram(
    "relais.routing.waited", "s", "From the queue to the answer or the end, by outcome"
)
"""outcome: answered, abandoned or overflowed"""

TIMERS = meter.create_counter("relais.routing.timers", "{timer}", "Timer commands sent, by kind")
"""timer: ExpireOffer, FinishWrapUp, AdvanceCall, LogOutLostAgent"""

TIMER_LATENESS = meter.create_histogram(
    "relais.routing.timer.lateness", "s", "From when a timer was due to its command in the log"
)
