"""A bitstream made on a GPU is decoded by a CPU, and one seed gives one bitstream there too."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from conftest import make_y4m

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.rendering import RenderedVideo
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here."),
]
CARDS = [find_card(name) for name in find_codecs()]
INSIDE = [card.name for card in CARDS if card.kind == "INR" and card.load.startswith("rdbench.")]
NAMES = [name for name in INSIDE if issubclass(load_codec(name), InrCodec)]
NAMES.append("nvrc[grids=context]")  # small grids have none unless asked


def encode(name: str, clip: Path, folder: Path) -> Path:
    folder.mkdir()
    (spec,) = parse_specs(name)
    codec = cast(InrCodec, create(spec, "tiny"))
    video = open_video(clip)
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    point = codec.rate_point("20K", Clip(video.format, video.frames or 0))
    codec.encode(source, point, folder / "b", Workspace(folder, "cuda"))
    return folder / "b"


def decode(name: str, bitstream: Path, device: str) -> tuple[torch.nn.Module, np.ndarray]:
    (spec,) = parse_specs(name)
    video = type(create(spec)).decode(bitstream, Workspace(bitstream.parent, device))
    assert isinstance(video, RenderedVideo)
    frames = np.concatenate([np.stack(batch.planes, axis=1) for batch in video.batches()])
    return video._network, frames


@pytest.mark.parametrize("name", NAMES)
def test_gpu_and_cpu_decode_the_same_weights_and_nearly_the_same_frames(name: str, tmp_path: Path) -> None:
    bitstream = encode(name, make_y4m(tmp_path / "a.y4m", 161, 91, 6), tmp_path / "w")
    (there, gpu), (here, cpu) = (decode(name, bitstream, device) for device in ("cuda", "cpu"))
    for ours, theirs in zip(there.parameters(), here.parameters(), strict=True):
        assert torch.equal(ours.cpu(), theirs)
    apart = np.abs(gpu.astype(int) - cpu.astype(int))
    assert (apart <= 1).mean() >= 0.999


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_gives_one_bitstream(name: str, tmp_path: Path) -> None:
    clip = make_y4m(tmp_path / "a.y4m", 64, 48, 4)
    first, second = (encode(name, clip, tmp_path / folder).read_bytes() for folder in ("one", "two"))
    assert first == second
