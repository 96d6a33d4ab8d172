"""NIRVANA's latents: their parametrization, the model of their rate, and how a group is coded beside the last one."""
