"""Whom to call: leads, their numbers, when their turn is; lists and their import."""
