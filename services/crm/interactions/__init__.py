"""What was said in calls, and the timeline of a customer. docs/subsystems/crm-interactions.md"""
