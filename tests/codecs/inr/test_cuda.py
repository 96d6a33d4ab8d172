"""A bitstream made on a GPU is decoded by a CPU and the other way round, and one seed gives one bitstream there too."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import pytest
import torch
from conftest import make_y4m

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.pieces.codec import PieceCodec
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

KIT = Path(__file__).parents[2] / "benchmarks" / "gpu"
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")
CARDS = [find_card(name) for name in find_codecs()]
INSIDE = [card.name for card in CARDS if card.kind == "INR" and card.load.startswith("rdbench.")]
NAMES = [name for name in INSIDE if issubclass(load_codec(name), InrCodec)]
BY_PIECES = [name for name in INSIDE if issubclass(load_codec(name), PieceCodec)]
CONTEXT = "nvrc[grids=context]"
"""Small grids have none unless asked."""


@pytest.fixture(scope="module")
def agreement() -> Iterator[ModuleType]:
    """The kit's measurement, so that it and the test hold the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(KIT))
        yield importlib.import_module("agreement")


def check(agreement: ModuleType, name: str, device: str, width: int, height: int, frames: int) -> None:
    """Same symbols, and 99.9 % of the pixels within one level, whoever made the bitstream."""
    rows = list(agreement.agree(name, device, "20K", width, height, frames))
    assert [row["name"] for row in rows] == [f"made on {device}", "made on cpu"]
    for row in rows:
        assert row["values"]["same symbols"], row
        assert row["values"]["pixels within one level"] >= 0.999, row
        assert row["holds"]


@pytest.mark.cuda
@on_a_gpu
@pytest.mark.parametrize("name", [*NAMES, CONTEXT])
def test_gpu_and_cpu_decode_the_same_weights_and_nearly_the_same_frames(name: str, agreement: ModuleType) -> None:
    check(agreement, name, "cuda", 161, 91, 6)


@pytest.mark.cuda
@on_a_gpu
@pytest.mark.parametrize("name", BY_PIECES)
def test_so_do_codecs_that_code_piece_by_piece(name: str, agreement: ModuleType) -> None:
    check(agreement, name, "cuda", 64, 48, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nerv", *BY_PIECES])
def test_the_same_check_holds_between_two_decodings_on_a_cpu(name: str, agreement: ModuleType) -> None:
    check(agreement, name, "cpu", 32, 24, 3)


def test_a_pixel_agrees_where_all_of_its_samples_do(agreement: ModuleType) -> None:
    ours = np.full((1, 3, 2, 2), 254, np.uint8)
    theirs = ours.copy()
    theirs[0, :, 0, 0] = (255, 253, 254)
    theirs[0, 2, 1, 1] = 0
    assert agreement.differences(ours, theirs).tolist() == [[[1, 0], [0, 254]]]


def test_all_numbers_of_a_decoded_network_are_compared(agreement: ModuleType) -> None:
    network = torch.nn.BatchNorm2d(2)
    found = dict(agreement.tensors_in({"piece 0": [network, np.arange(3)], "piece 1": torch.ones(2)}))
    state = {f".piece 0.0.{name}" for name in network.state_dict()}
    assert set(found) == {*state, ".piece 0.1", ".piece 1"}
    assert torch.equal(found[".piece 0.1"], torch.arange(3))


def encode(name: str, clip: Path, folder: Path) -> Path:
    folder.mkdir()
    (spec,) = parse_specs(name)
    # whether steps are compiled and what computes blocks is measured otherwise, and may differ
    codec = cast(InrCodec, create(spec.with_options({"compile": "false"}), "tiny"))
    video = open_video(clip)
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    point = codec.rate_point("20K", Clip(video.format, video.frames or 0))
    codec.encode(source, point, folder / "b", Workspace(folder, "cuda"))
    return folder / "b"


@pytest.mark.cuda
@on_a_gpu
@pytest.mark.parametrize("name", [*NAMES, CONTEXT])
def test_one_seed_gives_one_bitstream(name: str, tmp_path: Path) -> None:
    clip = make_y4m(tmp_path / "a.y4m", 64, 48, 4)
    first, second = (encode(name, clip, tmp_path / folder).read_bytes() for folder in ("one", "two"))
    assert first == second
