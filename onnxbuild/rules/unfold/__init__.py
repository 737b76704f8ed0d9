"""Compute `unfold` and `fold`, of images and of a tensor's axis, for sizes that vary and any opset."""
