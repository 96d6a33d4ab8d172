"""Blocks, encodings and grids that several networks are made of."""
