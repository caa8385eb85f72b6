"""What every service shares: Kafka in and out, dead letters, settings, telemetry, clock and ids.

Delivery is at least once: an effect comes first, the commit after it. docs/subsystems/eventkit.md
has the rules and shows how to write a consumer and a stream processor.
"""
