"""What the codecs that run other programs share."""
