"""How far a model's outputs are from PyTorch's."""
