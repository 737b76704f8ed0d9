"""Compute `grid_sample` from gathered corners and weights: 4-D and 5-D, all modes and paddings, any opset."""
