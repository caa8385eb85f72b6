"""What agents sell, per client company: its own forms, orders and what becomes of them, visits.
Event-sourced in its own PostgreSQL database; docs/subsystems/orders.md.

A folder for each capability, as in crm: the decider(s), `codec`, `store` (read models), `service`
(use cases), `api` and `rpc` (edges). order/ is what the others are there for.
"""
