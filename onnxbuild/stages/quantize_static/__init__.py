"""The ``quantize_static`` stage."""
