"""Limits that the compression schemes share, and their error messages."""

from collections.abc import Mapping

from torch import nn

from rdbench.errors import BitstreamError

from ..networks.network import count_parameters

LARGEST_WEIGHT = 30_000.0
"""Largest magnitude of a weight, within the range of float16."""
WEIGHTS_PER_BYTE = 1024
"""Most weights per byte of bitstream; keeps a small malicious file from asking for much memory (our choice)."""
FREE_WEIGHTS = 1 << 20
"""Number of weights that is allowed whatever the size of the file."""
DAMAGED_SECTIONS = "The bitstream's sections do not fit its network; encode the clip again."
DAMAGED_SETTINGS = "The bitstream's quantization is damaged; encode the clip again."
DIVERGED = "Training gave weights beyond all bounds; try another --seed or a lower lr."


def check_network_size(network: nn.Module, sections: Mapping[str, bytes], further: int = 0) -> None:
    """Raises BitstreamError for a network that is far too large for the bytes that hold it.

    `further`: numbers that the scheme transmits besides the network's parameters.
    """
    allowed = max(FREE_WEIGHTS, WEIGHTS_PER_BYTE * sum(len(data) for data in sections.values()))
    if count_parameters(network) + further > allowed:
        raise BitstreamError(DAMAGED_SECTIONS)
