"""The ``onnxruntime`` stage."""
