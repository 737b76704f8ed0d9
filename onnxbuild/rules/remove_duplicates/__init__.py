"""Compute once what is computed twice from the same values."""
