"""The ``float16`` stage."""
