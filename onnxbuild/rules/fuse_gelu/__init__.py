"""Put the nodes of an exact or tanh GELU together to one `Gelu`, from opset 20 on."""
