"""Compression schemes: quantization, pruning and rate models of network parameters."""
