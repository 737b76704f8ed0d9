"""Compute modes of interpolation that an exporter lacks."""
