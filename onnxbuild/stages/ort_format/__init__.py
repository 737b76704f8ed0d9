"""The ``ort_format`` stage."""
