"""Put the matrix products and the softmax of an attention together to one `Attention`, from opset 23 on."""
