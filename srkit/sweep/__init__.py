"""A sweep: every combination of some values of some keys, trained and compared in a table."""
