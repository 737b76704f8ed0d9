"""The ``fix_dims`` stage."""
