"""Compute `cumsum`, `cumprod`, `cummax`, `cummin` and `logcumsumexp` by comparing positions."""
