"""Replacements, a folder for each family: `spec.py` says what a recipe may ask, `run.py` does it."""
