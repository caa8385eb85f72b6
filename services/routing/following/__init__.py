"""Telephone systems and desktops follow what routing decides."""
