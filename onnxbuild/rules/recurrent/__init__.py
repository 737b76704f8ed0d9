"""Compute LSTM, GRU and RNN layers at every size, with projections too."""
