"""Fold weight normalization into plain weights."""
