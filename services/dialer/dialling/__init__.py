"""The worker: turns of pacing, what the carrier says, what routing decides."""
