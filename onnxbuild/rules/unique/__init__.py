"""Give the inverse of `unique` the shape of what it is of."""
