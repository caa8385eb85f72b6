"""How many to dial now. Pure; a small file for each policy."""
