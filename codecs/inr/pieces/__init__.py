"""Codecs that code a clip piece by piece, each piece with networks or latents of its own."""
