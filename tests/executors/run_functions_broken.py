"""A run module that lacks a package."""

import there_is_no_such_package  # noqa: F401
