"""Training recipes as data: stages, losses, optimizers."""
