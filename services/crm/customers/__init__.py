"""Who a client's customers are. docs/subsystems/crm-customers.md"""
