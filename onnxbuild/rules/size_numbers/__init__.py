"""Compute with numbers that follow from sizes."""
