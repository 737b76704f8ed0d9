"""The ``quantize_dynamic`` stage."""
