"""Compute `diagonal`, `trace`, `diag_embed` and `kron` for sizes that vary, in any opset."""
