"""A run module that the server does not import itself, so that each of its jobs does, slowly."""

from run_functions import answer

__all__ = ["answer"]
