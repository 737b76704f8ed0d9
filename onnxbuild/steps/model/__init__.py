"""Loading and calling a PyTorch model, shared by the steps that run one."""
