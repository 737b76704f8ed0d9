"""Store once the weights that are there several times."""
