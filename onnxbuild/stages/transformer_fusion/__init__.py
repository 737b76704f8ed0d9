"""The ``transformer_fusion`` stage."""
