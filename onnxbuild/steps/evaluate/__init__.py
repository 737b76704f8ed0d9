"""The recipe's metric, for a model and for PyTorch."""
