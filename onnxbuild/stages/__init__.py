"""Lightweighting stages: each says in `spec` what a recipe may say, and does it in `run`."""
