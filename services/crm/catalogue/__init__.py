"""A client's own words: topics, dispositions, offers. docs/subsystems/crm-interactions.md"""
