"""Write the `nms`, `roi_align` and `roi_pool` of torchvision with operators for regions of an image."""
