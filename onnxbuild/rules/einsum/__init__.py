"""Compute `einsum` as transpositions, matrix products and sums, for opsets without it."""
