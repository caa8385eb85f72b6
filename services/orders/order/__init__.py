"""One order, from its draft to what happened after the sale."""
