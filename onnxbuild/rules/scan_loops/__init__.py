"""Go through a sequence by Scan where a Python loop would be written out."""
