"""The commands. One module each; `console` is the only one that prints."""
