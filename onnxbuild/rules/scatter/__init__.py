"""Compute `scatter_add`, `scatter_reduce`, `index_add` and an adding `index_put`, with places that repeat, in any opset."""
