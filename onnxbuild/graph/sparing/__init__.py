"""Leaving out of a quantization the fewest nodes with which it keeps its numbers."""
