"""Rate points of the INR codecs: one label for all of them, and what follows from a size alone."""

import pytest

from rdbench.codec import Clip
from rdbench.codecs.cnerv import CNeRVCodec
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.tnerv import TNeRVCodec
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.runner.sweep import choose_points
from rdbench.video import VideoFormat

CLIP = Clip(VideoFormat(320, 180), 16)
INR = [name for name in find_codecs() if find_card(name).kind == "INR" and issubclass(load_codec(name), InrCodec)]


@pytest.mark.parametrize("name", [*INR, "hinerv[compression=entropy-constrained]", "hnerv[compression=nvrc]"])
def test_a_size_alone_is_a_rate_point_of_every_codec(name: str) -> None:
    codec = create(parse_specs(name)[0])
    (point,) = choose_points(codec, CLIP, "20K")
    assert (point.label, point.settings["size"]) == ("20K", 20_000)
    assert codec.stages(point)  # type: ignore[attr-defined]


@pytest.mark.parametrize("codec", [CNeRVCodec, TNeRVCodec])
def test_its_lambda_is_the_middle_one_of_the_default_ones(codec: type[CNeRVCodec] | type[TNeRVCodec]) -> None:
    made = codec(codec.Settings())
    default = [(point.settings["size"], point.settings["lambda"]) for point in made.rate_points(CLIP)]
    assert len(sizes := sorted({size for size, _ in default})) == 4
    assert default == [(size, weight) for size in sizes for weight in (1.0, 0.5, 0.25, 0.1, 0.05)]
    assert made.rate_point("20K", CLIP).settings["lambda"] == 0.25
    assert made.rate_point("20K-lambda0.7", CLIP).settings["lambda"] == 0.7
    assert made.stages(made.rate_point("20K", CLIP)) == made.stages(made.rate_point("20K-lambda0.25", CLIP))


def test_it_follows_the_unit_of_the_loss() -> None:
    point = create(parse_specs("cnerv[loss=l2]")[0]).rate_point("20K", CLIP)
    assert point.settings["lambda"] == pytest.approx(0.25 * 0.05)
