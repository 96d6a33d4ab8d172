"""Whether a bitstream decodes to the same symbols and to nearly the same frames on the GPU and on the CPU."""

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clips import waves

from rdbench.codec import Clip, Codec, RatePoint, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.pieces.layout import States
from rdbench.codecs.inr.pieces.video import PieceVideo
from rdbench.codecs.inr.rendering import RenderedVideo
from rdbench.registry import create, parse_specs

LEAST_SHARE = 0.999
"""Share of the pixels that have to be within one level in each of their samples."""
Array = np.typing.NDArray[Any]


def agree(spec: str, device: str, size: str, width: int, height: int, frames: int) -> Iterator[Mapping[str, Any]]:
    """A row for a bitstream made on the device, and one for a bitstream made on the CPU."""
    source = waves(width, height, frames)
    codec = create(parse_specs(spec)[0], "tiny")
    point = _point(codec, size, Clip(source.video.format, frames))
    for maker in (device, "cpu"):
        with tempfile.TemporaryDirectory() as folder:
            bitstream = Path(folder) / "bitstream.bin"
            codec.encode(source, point, bitstream, Workspace(Path(folder), maker))
            values = compare(type(codec), bitstream, device)
        holds = values["same symbols"] and values["pixels within one level"] >= LEAST_SHARE
        yield {"name": f"made on {maker}", "holds": holds, "values": values}


def _point(codec: Codec, size: str, clip: Clip) -> RatePoint:
    """A network of this size; of a codec without sizes the point in the middle."""
    if isinstance(codec, InrCodec):
        return codec.rate_point(f"{size}-lambda0.2" if codec.objective else size, clip)
    points = codec.rate_points(clip)
    return points[len(points) // 2]


def compare(codec: type[Codec], bitstream: Path, device: str) -> dict[str, Any]:
    """Decodes on the device and on the CPU."""
    (there, ours), (here, theirs) = (decoded(codec, bitstream, each) for each in (device, "cpu"))
    apart = differences(ours, theirs)
    return {
        "bytes": bitstream.stat().st_size,
        "same symbols": there.keys() == here.keys() and all(torch.equal(there[name], here[name]) for name in here),
        "equal pixels": float((apart == 0).mean()),
        "pixels within one level": float((apart <= 1).mean()),
        "largest difference": int(apart.max()),
    }


def differences(ours: Array, theirs: Array) -> Array:
    """The largest difference among the samples of each pixel, in levels: `[N, 3, H, W]` twice -> `[N, H, W]`."""
    largest: Array = np.abs(ours.astype(np.int16) - theirs).max(axis=1)
    return largest


def decoded(codec: type[Codec], bitstream: Path, device: str) -> tuple[Mapping[str, torch.Tensor], Array]:
    """The weights and other numbers, which the symbols decide, on the CPU; and the frames `[N, 3, H, W]`."""
    video = codec.decode(bitstream, Workspace(bitstream.parent, device))
    frames = np.concatenate([np.stack(batch.planes, axis=1) for batch in video.batches()])
    if isinstance(video, RenderedVideo):
        return dict(tensors_in(video._network)), frames
    assert isinstance(video, PieceVideo)
    states = States(video._reader)
    found = {f"piece {piece.number}": states.of(piece.number) for piece in video._decoder.pieces}
    return dict(tensors_in(found)), frames


def tensors_in(value: object, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors and arrays in a value, by a name that says where; networks have their parameters and buffers."""
    if isinstance(value, torch.Tensor):
        yield name, value.cpu()
    elif isinstance(value, np.ndarray):
        yield name, torch.from_numpy(np.ascontiguousarray(value))
    elif isinstance(value, torch.nn.Module):
        yield from tensors_in(dict(value.state_dict()), name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from tensors_in(each, f"{name}.{key}")
    elif dataclasses.is_dataclass(value):
        yield from tensors_in(vars(value), name)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield from tensors_in(dict(enumerate(value)), name)
