"""NVRC's compression: quantizers and entropy models trained with the network, in three levels."""
