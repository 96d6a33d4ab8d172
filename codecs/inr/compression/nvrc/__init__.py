"""NVRC's compression: quantizers and entropy models that are trained with the network, in three levels.

Level 1 (the paper's theta) is the network's parameters: weights, feature grids and vectors. Level 2 (phi) is the
parameters of their quantizers and entropy models: steps, means, deviations and context models, which are quantized and
coded too. Level 3 (psi) is a step, a mean and a deviation for each tensor of level 2, stored as float16.
"""
