"""The ``quantize_weights`` stage."""
