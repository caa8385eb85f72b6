"""Outbound, per client company: campaigns, leads, attempts, and why each single one was allowed.
Event-sourced in its own PostgreSQL database; docs/subsystems/dialer.md.

A folder for each capability, as in crm and orders; dialling/ is the worker that puts them together,
carrier/ the simulator of a telephone network.
"""
