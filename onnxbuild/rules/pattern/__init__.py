"""Rewrite patterns of the exported graph."""
