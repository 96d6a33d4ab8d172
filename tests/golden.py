"""Golden bitstreams: small streams that are kept, with the hashes of the weights and of the frames that they hold.

A change of the format, of constriction, of ffmpeg or of rounding shows in `test_golden.py` the day it happens. After a
deliberate change raise `revision` of the codecs concerned (`codecs/inr/codec.py` has the revision of all), then run

    .venv/bin/python tests/golden.py

which keeps every stream that still decodes to its hashes under the same version, and encodes the others anew. It
refuses a stream of an INR codec that changed under an unchanged version. Streams of conventional codecs have no such
version of ours: name those that an adapter now writes in another way, as in `python tests/golden.py x264`.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from rdbench.codec import Clip, Codec, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.networks.network import render
from rdbench.codecs.inr.pieces.codec import PieceCodec
from rdbench.registry import create, find_card, load_codec, parse_specs
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo

FOLDER = Path(__file__).parent / "codecs" / "golden"
INR = (
    "nerv", "nerv[entropy=huffman]", "psnerv", "enerv", "nervpp", "hnerv", "dnerv", "hnerv-boost", "ffnerv", "hinerv",
    "tenerv", "canerv", "cnerv", "tnerv", "nvrc[grids=context]", "nvrc[grids=gaussian,layers=gaussian]",
    "nvrc[no-second-coding]", "nerv[compression=nvrc]", "hinerv[compression=entropy-constrained]", "nirvana",
    "nirvana[group=1,stages=3]", "c3[variant=a]", "c3[variant=b,per-frame-conv=no]", "c3[variant=c]",
)  # fmt: skip
"""Every codec, every compression scheme, and every way in which these write a bitstream."""
CONVENTIONAL = ("x264", "x265", "svtav1", "libaom", "vvenc")
SHORT = {
    "epochs": "6", "finetune_epochs": "2", "prune_epochs": "1", "quantize_epochs": "1", "frequencies": "8",
    "noise_steps": "120", "rounding_steps": "5", "mask_steps": "5",
}  # fmt: skip
SIZES = {"INR": (16, 12, 2), "conventional": (64, 48, 3)}
"""Width, height and frames of the clip."""
SEEDS = 100
CLEARANCE = 5e-4
"""Distance, in sample values, of every rendered sample from the edge at which it would round to its neighbor.

Matrix products of other processors differ by less, so the hash of the frames is the same on any CPU.
"""


@dataclass(frozen=True)
class Golden:
    """What is kept of a stream beside it; `weights` is empty for a codec that is not one network."""

    version: str
    weights: str
    frames: str
    units: str
    """Kinds of the stream's parts: sections of an INR bitstream, NAL units or OBUs of an elementary stream."""


def file_of(name: str) -> Path:
    """The file of a stream."""
    return FOLDER / f"{name.translate(str.maketrans('[=,', '...', ']'))}.bin"


def codec_of(name: str) -> Codec:
    """The codec, with a short training."""
    (spec,) = parse_specs(name)
    known = load_codec(spec.name).Settings.model_fields
    return create(spec.with_options({key: value for key, value in SHORT.items() if key in known}), "tiny")


def version_of(name: str) -> str:
    """Name and revision of an INR codec; the class of a conventional codec, whose decoding never changes."""
    codec = codec_of(name)
    return f"{codec.name}-{codec.revision}" if isinstance(codec, InrCodec | PieceCodec) else type(codec).__name__


def clip_of(kind: str) -> MemoryVideo:
    """A moving gradient with a square, in 4:2:0."""
    width, height, frames = SIZES[kind]
    t, y, x = np.mgrid[:frames, :height, :width]
    luma = 60 + 3 * y + 2 * x + 9 * t + 60 * ((x - 3 * t) // 6 % 2)
    fmt = VideoFormat(width, height)
    planes = (luma.clip(16, 235), (128 + 2 * y - x)[:, ::2, ::2], (110 + x + t)[:, ::2, ::2])
    return MemoryVideo(fmt, Frames(tuple(plane.clip(16, 235).astype(np.uint8) for plane in planes)))


def encode(name: str, path: Path, seed: int) -> None:
    """Codes the clip."""
    codec, video = codec_of(name), clip_of(find_card(parse_specs(name)[0].name).kind)
    clip = Clip(video.format, video.frames or 0)
    objective = codec.objective if isinstance(codec, InrCodec) else None
    size = "2.95K"  # of which all of them have a network
    own = f"{size}-lambda0.2" if objective else size
    label = own if isinstance(codec, InrCodec) else codec.rate_points(clip)[0].label
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), seed=seed)
        source = Source(video, RgbVideo(video, find_conditions("rgb601")))
        codec.encode(source, codec.rate_point(label, clip), path, workspace)


def decode(name: str, path: Path) -> Golden:
    """What the stream holds now."""
    cls = load_codec(parse_specs(name)[0].name)
    with tempfile.TemporaryDirectory() as folder:
        video = cls.decode(path, Workspace(Path(folder)))
        frames = b"".join(plane.tobytes() for batch in video.batches() for plane in batch.planes)
    units = " ".join(f"{kind}:{size}" for kind, size in sorted(cls.ledger(path).items()))
    weights = _weights(cast(type[InrCodec], cls), path) if issubclass(cls, InrCodec) else ""
    return Golden(version_of(name), weights, _digest(frames), units)


def _weights(cls: type[InrCodec], path: Path) -> str:
    state = cls.read_network(path).named_parameters()
    return _digest(b"".join(parameter.detach().numpy().astype("<f4").tobytes() for _, parameter in state))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def read_index() -> dict[str, Golden]:
    """What is kept, by the names of the codecs."""
    return {name: Golden(**values) for name, values in json.loads((FOLDER / "golden.json").read_text()).items()}


def clearance(name: str, path: Path) -> float:
    """The least distance of a rendered sample from a rounding edge; 1 for a conventional codec, whose are integers."""
    cls = load_codec(parse_specs(name)[0].name)
    if issubclass(cls, PieceCodec):
        return min(_clearance(shown) for _, shown in cls.open(path, Workspace(path.parent)).rendered())
    if not issubclass(cls, InrCodec):
        return 1.0
    network, frames = cls.read_network(path), SIZES["INR"][2]
    with torch.inference_mode():
        shown = render(network, torch.arange(frames), network.frame_grid, *SIZES["INR"][1::-1])
    return _clearance(shown)


def _clearance(shown: torch.Tensor) -> float:
    values = (shown.double() * 255).clamp(0, 255)
    return float(((values - 0.5) - (values - 0.5).round()).abs().min())


def renew(named: Sequence[str]) -> None:
    """Encodes anew the streams that have another version, and the named ones of conventional codecs."""
    if unknown := set(named) - set(CONVENTIONAL):
        sys.exit(f"{', '.join(sorted(unknown))}: only {', '.join(CONVENTIONAL)} are renewed by name.")
    kept = read_index() if (FOLDER / "golden.json").exists() else {}
    found: dict[str, Golden] = {}
    for name in (*INR, *CONVENTIONAL):
        path = file_of(name)
        if name not in named and name in kept and kept[name].version == version_of(name):
            if decode(name, path) != kept[name]:
                sys.exit(f"{name} changed under the version {kept[name].version}; raise its revision, then run again.")
            found[name] = kept[name]
            continue
        for seed in range(SEEDS):
            encode(name, path, seed)
            if clearance(name, path) > CLEARANCE:
                break
        else:
            sys.exit(f"{name}: none of {SEEDS} seeds keeps all samples {CLEARANCE} away from a rounding edge.")
        found[name] = decode(name, path)
        print(f"{name}: {path.stat().st_size} bytes, seed {seed}")
    index = {name: asdict(golden) for name, golden in found.items()}
    (FOLDER / "golden.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    renew(sys.argv[1:])
