"""Compute with complex numbers, and Fourier transforms, as pairs of real ones."""
