"""Whether a bitstream decodes to the same network and to nearly the same frames on the GPU and on the CPU."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from clips import waves

from rdbench.codec import Clip, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.rendering import RenderedVideo
from rdbench.registry import create, parse_specs

LEAST_SHARE = 0.999
"""Share of the samples that have to be within one level of each other."""


def agree(spec: str, device: str, size: str, width: int, height: int, frames: int) -> Iterator[Mapping[str, Any]]:
    """A row for a bitstream made on the device, and one for a bitstream made on the CPU."""
    source = waves(width, height, frames)
    codec = cast(InrCodec, create(parse_specs(spec)[0], "tiny"))
    label = f"{size}-lambda0.2" if codec.objective else size
    point = codec.rate_point(label, Clip(source.video.format, frames))
    for maker in (device, "cpu"):
        with tempfile.TemporaryDirectory() as folder:
            bitstream = Path(folder) / "bitstream.bin"
            codec.encode(source, point, bitstream, Workspace(Path(folder), maker))
            values = compare(type(codec), bitstream, device)
        holds = values["same symbols"] and values["within one level"] >= LEAST_SHARE
        yield {"name": f"made on {maker}", "holds": holds, "values": values}


def compare(codec: type[InrCodec], bitstream: Path, device: str) -> dict[str, Any]:
    """Decodes on the device and on the CPU."""
    (there, ours), (here, theirs) = (_decoded(codec, bitstream, each) for each in (device, "cpu"))
    apart = np.abs(ours.astype(np.int16) - theirs)
    return {
        "bytes": bitstream.stat().st_size,
        "same symbols": there.keys() == here.keys() and all(torch.equal(there[name], here[name]) for name in here),
        "equal samples": float((apart == 0).mean()),
        "within one level": float((apart <= 1).mean()),
        "largest difference": int(apart.max()),
    }


def _decoded(
    codec: type[InrCodec], bitstream: Path, device: str
) -> tuple[Mapping[str, torch.Tensor], np.typing.NDArray[np.uint8]]:
    """The weights, which the symbols decide, and the frames `[N, 3, H, W]`."""
    video = codec.decode(bitstream, Workspace(bitstream.parent, device))
    assert isinstance(video, RenderedVideo)
    frames = np.concatenate([np.stack(batch.planes, axis=1) for batch in video.batches()])
    return {name: tensor.cpu() for name, tensor in video._network.state_dict().items()}, frames
