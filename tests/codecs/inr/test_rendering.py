"""Rendering in a faster number format: every codec can, and what float32 gives stays what it was."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from conftest import make_y4m

from rdbench.codec import Clip, Precision, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

torch.set_num_threads(1)
CARDS = [find_card(name) for name in find_codecs()]
INSIDE = [card.name for card in CARDS if card.kind == "INR" and card.load.startswith("rdbench.")]
NAMES = [name for name in INSIDE if issubclass(load_codec(name), InrCodec)]


def decode(codec: type[InrCodec], bitstream: Path, precision: Precision) -> np.ndarray:
    video = codec.decode(bitstream, Workspace(bitstream.parent, precision=precision))
    return np.concatenate([np.stack(batch.planes, 1) for batch in video.batches()]).astype(int)


@pytest.mark.parametrize("name", NAMES)
def test_every_codec_renders_in_the_formats_that_it_names(name: str, tmp_path: Path) -> None:
    codec = cast(InrCodec, create(parse_specs(name)[0], "tiny"))
    video = open_video(make_y4m(tmp_path / "a.y4m", 48, 32, 3))
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    point = codec.rate_point("8K-lambda0.2" if codec.objective else "8K", Clip(video.format, 3))
    bitstream = tmp_path / "b"
    codec.write_sample(source, point, bitstream, Workspace(tmp_path))
    exact = decode(type(codec), bitstream, "float32")
    assert codec.rendering_precisions == ("bfloat16", "float16")
    for precision in codec.rendering_precisions:
        frames = decode(type(codec), bitstream, precision)
        assert frames.shape == exact.shape
        # bfloat16 has 8 bits of mantissa, so features are off by up to 1/256 in every layer
        assert np.abs(frames - exact).mean() < (2.0 if precision == "bfloat16" else 0.5)
    assert np.array_equal(decode(type(codec), bitstream, "float32"), exact)
