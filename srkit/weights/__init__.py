"""Trained weights: find and load them, say what a file is, convert it, share it on a hub."""
