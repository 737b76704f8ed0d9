"""Compute `repeat_interleave` for sizes and counts that vary, counts of zero too."""
