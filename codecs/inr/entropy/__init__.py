"""Entropy coding: probability models, arithmetic that is exact on any machine, and the coders."""
