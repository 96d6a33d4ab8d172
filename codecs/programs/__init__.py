"""Code shared by the codecs that run other programs."""
