"""Compute `median` and `kthvalue` from the smallest values."""
