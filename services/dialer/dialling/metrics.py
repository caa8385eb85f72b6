"""Every metric of the dialling worker, and what its attributes are."""

from eventkit.telemetry import meter

DIALLED = meter.create_counter(
    "relais.dialer.dialled", "{call}", "Calls that the carrier was given, by what it said"
)
"""taken: dialling, known, too-late or refused"""

HELD_BACK = meter.create_counter(
    "relais.dialer.held.back", "{lead}", "Leads whose turn it was and that a rule forbade, by rule"
)
"""rule: the first that forbade it, without the id of a list or consent"""

TURN_SECONDS = meter.create_histogram(
    "relais.dialer.turn", "s", "A turn of a pool, from looking at agents to the last call dialled"
)

PERMISSION_AGE = meter.create_histogram(
    "relais.dialer.permission.age", "s", "From the decision to the carrier's word that it dials"
)

CRM_SILENT = meter.create_counter(
    "relais.dialer.crm.silent", "{question}", "Turns in which nothing was dialled: crm was silent"
)

ROUTING_SILENT = meter.create_counter(
    "relais.dialer.routing.silent", "{turn}", "Turns without agents: routing was silent"
)

CARRIER_LOST = meter.create_counter(
    "relais.dialer.carrier.lost", "{stream}", "Breaks of the stream of results"
)

RESULTS = meter.create_counter(
    "relais.dialer.results", "{result}", "What was heard of the carrier, by kind"
)
"""result: Answered, GreetingEnded, Connected, MessageStarted or Over"""

CONNECT_SECONDS = meter.create_histogram(
    "relais.dialer.connect", "s", "From hearing that a greeting has ended to hearing of the agent"
)

REPORTS = meter.create_counter("relais.dialer.reports", "{report}", "What routing was told")

JOINS = meter.create_counter(
    "relais.dialer.joins", "{request}", "Agents that the carrier was asked to connect, by outcome"
)
"""outcome: connected, refused or unavailable"""

LAPSED = meter.create_counter(
    "relais.dialer.lapsed", "{attempt}", "Attempts that were never dialled, or lost, by reason"
)
"""reason: unknown (the carrier never had it), lost (it has forgotten it), too-late or refused"""

IS_ACTIVE = meter.create_gauge(
    "relais.dialer.active", "1", "1 of the worker that dials, 0 of those that stand by"
)
OUT = meter.create_gauge("relais.dialer.out", "{call}", "Calls that are out")
