"""rdbench: rate-distortion benchmark of neural and conventional video codecs."""
