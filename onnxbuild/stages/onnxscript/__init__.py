"""The ``onnxscript`` stage."""
