"""Compute `cdist` for any norm as differences, powers and sums."""
