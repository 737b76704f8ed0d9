"""Inputs on which the model and all that is made of it are run."""
