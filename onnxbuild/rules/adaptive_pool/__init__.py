"""Compute adaptive pooling from the sizes."""
