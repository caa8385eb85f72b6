"""What a client wants agents to know, and how they find it. docs/subsystems/crm-knowledge.md"""
