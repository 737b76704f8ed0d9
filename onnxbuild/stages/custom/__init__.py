"""The ``custom`` stage."""
