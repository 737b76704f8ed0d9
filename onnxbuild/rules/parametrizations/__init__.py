"""Fold every parametrized weight into a plain one."""
