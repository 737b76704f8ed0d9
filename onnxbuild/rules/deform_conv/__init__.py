"""Write `torchvision::deform_conv2d` as `DeformConv`, or as gathered corners and a matrix product."""
