"""What agents learn, per client company: customers, what was said, complaints and wishes,
knowledge, surveys, consent. Event-sourced in its own PostgreSQL database; docs/subsystems/crm.md.

A folder for each capability, all of one build: the decider(s), `codec` (events to protobuf),
`store` (read models), `service` (use cases), `api` and `rpc` (edges).
"""
