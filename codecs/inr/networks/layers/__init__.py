"""Blocks, encodings, grids and patch layouts that several networks share."""
