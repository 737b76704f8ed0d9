"""Sees what a step depends on: every file, missing file, folder and package that it looks at."""
