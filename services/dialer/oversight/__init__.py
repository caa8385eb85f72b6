"""What supervisors and auditors ask: the legal measure, whom the rules would skip, the rules that
a client adds."""
