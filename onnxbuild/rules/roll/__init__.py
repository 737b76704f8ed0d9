"""Compute `roll` for sizes that vary, of a shift over the whole tensor too."""
