"""Preparation of a graph for quantization; one step for all stages that quantize the same model."""
