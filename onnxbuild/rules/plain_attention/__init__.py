"""Compute `scaled_dot_product_attention` as matrix products and a softmax, for any opset and grouped heads."""
