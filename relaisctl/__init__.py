"""The operator's command line: the local stack, replay of recorded calls, reports."""
