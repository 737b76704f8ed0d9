"""The ``split`` stage."""
