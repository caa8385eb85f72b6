"""A client's own words: topics, dispositions, offers, reasons. docs/subsystems/crm-interactions.md"""
