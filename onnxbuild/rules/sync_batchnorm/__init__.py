"""Make SyncBatchNorm layers ordinary batch normalization."""
