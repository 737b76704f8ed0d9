"""Compute `masked_select` as a compression of the flat tensor."""
