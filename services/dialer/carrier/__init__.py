"""A simulator of a carrier: seeded people and machines behind the Telephony contract."""
