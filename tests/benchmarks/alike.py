"""Configurations of our networks that the authors' programs can have too, for `originals.py`.

Each function changes what the original fixes. Raises ValueError where it has no such network.
"""

import math
from dataclasses import replace
from typing import Any

Config = Any
"""Our configuration of the network; each codec has a class of its own."""


def as_it_is(config: Config) -> Config:
    """For originals that are as general as our network."""
    return config


def one_width(config: Config) -> Config:
    """HNeRV and DNeRV: layer 0 has the width that those of the stages derive from."""
    return replace(config, stem=config.channels)


def dnerv_alike(config: Config) -> Config:
    """The released DNeRV has five stages, and the fusion after the third one."""
    if len(config.strides) != 5 or config.fuse != 3 or config.difference != 2:
        raise ValueError("DNeRV's code has no such network; give a frame of 2x4 cells, as 640x320 or 1280x640.")
    return one_width(config)


def enerv_alike(config: Config) -> Config:
    """E-NeRV's code has a time code of 128 values, heads of 64, and the width 128 after them."""
    return replace(config, code=128, block=256, head=64, hidden=128)


def boost_alike(config: Config) -> Config:
    """HNeRV-Boost: the hidden width of the time's MLP is twice the code's."""
    return replace(config, time=2 * config.code)


def hinerv_alike(config: Config) -> Config:
    """HiNeRV: the first stage has the expansion of the others."""
    return replace(config, hidden=config.expansion * config.channels)


def ffnerv_alike(config: Config) -> Config:
    """FFNeRV's code has eight groups in each convolution but those of a stride of 5, and reads flows at a quarter."""
    if config.strides[0] != 5 or 5 in config.strides[1:] or math.prod(config.strides[-2:]) != 4:
        raise ValueError("FFNeRV's code has no such network; give a frame of 16:9, as 320x180 or 1920x1080.")
    lower = max(8, 8 * round(config.lower / 8))
    shapes = (replace(config, first=first, lower=lower) for first in range(8 * (config.first // 8), 7, -8))
    return next(shape for shape in shapes if not any(width % 8 for width in shape.widths()[1:]))
