"""Fold batch normalization into what is before it."""
