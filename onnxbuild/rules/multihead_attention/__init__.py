"""Compute multi-head attention by plain products and a softmax."""
