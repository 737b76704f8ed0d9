"""Compute `searchsorted` by counting the values that are smaller."""
