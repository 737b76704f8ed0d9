"""Compute all experts of a mixture, and weigh them."""
