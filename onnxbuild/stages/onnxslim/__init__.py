"""The ``onnxslim`` stage."""
