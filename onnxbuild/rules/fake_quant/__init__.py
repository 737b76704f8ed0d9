"""Give quantization-aware training fixed ranges."""
