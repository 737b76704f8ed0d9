"""The original model's outputs, against which everything is compared."""
