"""From a PyTorch model to a clean ONNX graph that is what the recipe asks."""
