"""Make each `Gemm` a `MatMul` and an `Add`."""
