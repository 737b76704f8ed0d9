"""Compute the grid of `affine_grid` from the sizes that an input has, in any opset."""
