"""Give dimensions and values of the graph other names."""
