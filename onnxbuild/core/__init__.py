"""Values and ports that every other part speaks in. Standard library and blake3 only."""
