"""C3's model of a spatio-temporal patch: latent grids, synthesis network and entropy networks, and their training."""
