"""Compute `nan_to_num` by comparisons, for opsets without `IsInf`."""
