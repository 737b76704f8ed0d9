"""Make each `MatMul` of two matrices with an `Add` of a bias one `Gemm`."""
