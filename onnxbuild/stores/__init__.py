"""Where content and traces are kept."""
