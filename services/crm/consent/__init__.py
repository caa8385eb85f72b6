"""Who may be contacted for what, and why not. docs/subsystems/crm-consent.md"""
