"""Deciding what runs, and driving it."""
