"""ONNX graphs: read, clean, keep as blobs, publish, summarize and compare them."""
