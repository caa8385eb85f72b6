"""Supervisors set up pools, and look at them as they are now."""
