"""Replace the instances of a module class."""
