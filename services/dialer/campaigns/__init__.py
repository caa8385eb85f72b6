"""A campaign: what it is for, how it dials, whether it runs."""
