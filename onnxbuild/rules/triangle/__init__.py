"""Compute `triu` and `tril` by comparing positions, for opsets without `Trilu`."""
