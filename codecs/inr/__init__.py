"""What the INR codecs share. This module hands on what the author of an INR codec imports.

The names are imported when they are first used, so that `rdbench codecs` lists the codecs without importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .codec import ClipHeader, InrCodec
    from .compression.scheme import Scheme
    from .embedding_based import EmbeddingCodec, EmbeddingSettings
    from .index_based import IndexCodec, IndexSettings
    from .networks.encoder import Encoder, FrameLookup
    from .networks.layers.blocks import UpBlock, halved_widths, mlp, tapered_widths
    from .networks.layers.encoding import sinusoids
    from .networks.network import Geometry, Network, NetworkConfig, Patches, UpsamplingConfig, choose_geometry
    from .recipes.losses import MIXES
    from .recipes.stage import Stage
    from .training.rate_distortion import InrSettings

_MODULES = {
    "codec": ("ClipHeader", "InrCodec"),
    "compression.scheme": ("Scheme",),
    "embedding_based": ("EmbeddingCodec", "EmbeddingSettings"),
    "index_based": ("IndexCodec", "IndexSettings"),
    "networks.encoder": ("Encoder", "FrameLookup"),
    "networks.layers.blocks": ("UpBlock", "halved_widths", "mlp", "tapered_widths"),
    "networks.layers.encoding": ("sinusoids",),
    "networks.network": ("Geometry", "Network", "NetworkConfig", "Patches", "UpsamplingConfig", "choose_geometry"),
    "recipes.losses": ("MIXES",),
    "recipes.stage": ("Stage",),
    "training.rate_distortion": ("InrSettings",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "MIXES", "ClipHeader", "EmbeddingCodec", "EmbeddingSettings", "Encoder", "FrameLookup", "Geometry", "IndexCodec",
    "IndexSettings", "InrCodec", "InrSettings", "Network", "NetworkConfig", "Patches", "Scheme", "Stage", "UpBlock",
    "UpsamplingConfig", "choose_geometry", "halved_widths", "mlp", "sinusoids", "tapered_widths",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
