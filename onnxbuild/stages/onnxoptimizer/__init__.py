"""The ``onnxoptimizer`` stage."""
