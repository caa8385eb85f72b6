"""What a client wants agents to ask, and what was answered. docs/subsystems/crm-surveys.md"""
