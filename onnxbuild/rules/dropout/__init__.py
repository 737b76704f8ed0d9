"""Make dropout and stochastic depth do nothing."""
