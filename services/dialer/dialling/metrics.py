"""Every metric of the dialling worker, and what its attributes are."""

from eventkit.telemetry import meter

CRM_SILENT = meter.create_counter(
    "relais.dialer.crm.silent", "{question}", "Turns in which nothing was dialled: crm was silent"
)
CARRIER_LOST = meter.create_counter(
    "relais.dialer.carrier.lost", "{stream}", "Breaks of the stream of results"
)
