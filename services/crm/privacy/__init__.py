"""Erasing a person, and telling them what is held. docs/subsystems/crm-privacy.md"""
