"""Put the nodes of an RMS normalization together to one node."""
