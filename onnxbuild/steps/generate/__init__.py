"""Greedy decoding with a model and with PyTorch's, whose tokens are to be the same."""
