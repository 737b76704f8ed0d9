"""Translate one operator by a function of the user's."""
