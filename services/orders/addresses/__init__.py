"""Addresses as they are spoken, and as the country writes them."""
