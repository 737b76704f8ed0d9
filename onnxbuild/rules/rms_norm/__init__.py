"""Compute `rms_norm` as a mean of squares and a root."""
