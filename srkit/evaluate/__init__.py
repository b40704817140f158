"""Scores that mean something: named protocols, one place for `train` and `bench` alike."""
