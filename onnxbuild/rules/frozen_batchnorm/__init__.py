"""Make frozen batch normalization an ordinary one."""
