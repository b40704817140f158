"""Training: one readable loop, schedules, checkpoints, and the session that puts a run together."""
