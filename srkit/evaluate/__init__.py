"""Scores by named protocols, used by training, `srkit bench` and `srkit.score`."""
