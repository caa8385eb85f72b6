"""The legal measure of abandonment: one projection for pacing, wallboard and audit."""
