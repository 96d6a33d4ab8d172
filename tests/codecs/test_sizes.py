"""Sizes of INR codecs: met within 1 %, also of long clips, or refused with the nearest size that can be met."""

import re
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from rdbench.codec import Clip
from rdbench.codecs.inr.codec import ClipHeader, InrCodec
from rdbench.codecs.inr.networks.network import NetworkConfig, count_parameters
from rdbench.codecs.nerv import NeRVCodec
from rdbench.errors import UsageError
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.video import VideoFormat

CARDS = [find_card(name) for name in find_codecs()]
INSIDE = [card.name for card in CARDS if card.kind == "INR" and card.load.startswith("rdbench.")]
NAMES = [name for name in INSIDE if issubclass(load_codec(name), InrCodec)]
TIGHT = {"ffnerv", "tnerv"}
"""Codecs with a grid or an embedding of 9x16 cells for each frame, or for each other."""
LABEL = re.compile(r"(\w[\w-]*) .* the nearest size is ([\d.]+[KM])\.")


def make(name: str) -> InrCodec:
    codec = create(parse_specs(name)[0], "quick")
    assert isinstance(codec, InrCodec)
    return codec


def parameters(codec: InrCodec, clip: ClipHeader, size: int) -> int:
    with torch.device("meta"):
        return count_parameters(codec.build(codec.solved(clip, size), clip))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "height", "frames"), [(160, 90, 16), (320, 180, 132), (640, 360, 132)])
def test_sizes_are_met_at_all_lengths_or_refused_with_the_nearest(
    name: str, width: int, height: int, frames: int
) -> None:
    codec, clip = make(name), ClipHeader(width, height, frames, 25, 1)
    for size in (20_000, 40_000, 80_000, 160_000):
        try:
            assert abs(parameters(codec, clip, size) - size) <= 0.01 * size
        except UsageError as error:
            assert name in TIGHT
            assert size == 20_000
            found = LABEL.fullmatch(str(error))
            assert found
            assert found[1] == name
            nearest = codec.rate_point(found[2], Clip(clip.format, frames)).settings["size"]
            assert nearest > 1.01 * size
            assert abs(parameters(codec, clip, nearest) - nearest) <= 0.01 * nearest


@pytest.mark.parametrize("name", NAMES)
def test_default_sizes_are_those_that_can_be_met(name: str) -> None:
    """The clip of 132 small frames has a default of 5.7K, in which FFNeRV's grids have no room."""
    codec = make(name)
    for width, height, frames in ((64, 48, 3), (160, 90, 16), (160, 90, 132)):
        format = VideoFormat(width, height, "rgb", 8, Fraction(25), full_range=True)
        points = codec.rate_points(Clip(format, frames))
        sizes = {int(point.settings["size"]) for point in points}
        for size in sizes:
            clip = ClipHeader(width, height, frames, 25, 1)
            assert abs(parameters(codec, clip, size) - size) <= 0.01 * size
            assert size >= 2000


def test_the_sentence_of_a_refusal() -> None:
    with pytest.raises(UsageError) as error:
        make("ffnerv").solved(ClipHeader(320, 180, 132, 25, 1), 20_000)
    assert str(error.value) == (
        "ffnerv cannot hold 132 frames of 320x180 in 20000 parameters; the nearest size is 29.628K."
    )


class Even(NeRVCodec):
    """Has networks of some sizes alone: no width takes up the rest."""

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        return self.scaled(clip, 0.1)

    def scaled(self, clip: ClipHeader, share: float) -> NetworkConfig:
        return replace(super().scaled(clip, 0.1), expansion=3)

    free_width, second_width = "expansion", ""


def test_a_size_between_two_networks_is_refused_with_the_nearer() -> None:
    codec, clip = Even(NeRVCodec.Settings()), ClipHeader(160, 90, 1, 25, 1)
    with torch.device("meta"):
        counts = [count_parameters(codec.build(replace(codec.scaled(clip, 1.0), expansion=n), clip)) for n in (2, 3)]
    size = round(0.7 * counts[0] + 0.3 * counts[1])
    nearest = f"{counts[0] / 1000:.3f}".rstrip("0").rstrip(".")
    with pytest.raises(UsageError, match=rf"nerv has no network for 1 frame of 160x90 with {size} .* {nearest}K"):
        codec.solved(clip, size)
