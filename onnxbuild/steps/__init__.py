"""The steps of a recipe: in each, `spec` says and `run` does."""
