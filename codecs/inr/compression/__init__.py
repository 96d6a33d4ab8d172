"""Compression schemes and the entropy coder."""
