"""How long a model takes, against the exported one."""
