"""The forms that clients publish, in versions; and JSON Schema within bounds."""
