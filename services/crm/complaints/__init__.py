"""Complaints and wishes, and the clocks that run on them. docs/subsystems/crm-complaints.md"""
