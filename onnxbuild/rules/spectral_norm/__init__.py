"""Fold spectral normalization into plain weights."""
