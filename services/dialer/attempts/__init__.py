"""One dialling, from the decision that it is allowed to its outcome."""
