"""What a build gives back, judged and written down."""
