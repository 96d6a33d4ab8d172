"""Entropy coding: probability models, exact arithmetic, and the range coder."""
