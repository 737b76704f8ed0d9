"""Data of the user's, collected once."""
