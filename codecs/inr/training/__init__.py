"""Training: the loop, rate-distortion objectives, checkpoints, timing."""
