"""Put the nodes of a layer normalization together to one `LayerNormalization`, from opset 17 on."""
