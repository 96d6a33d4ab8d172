"""The examples of README and of the guide to INR codecs work as they stand there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_y4m

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.networks.network import count_parameters
from rdbench.registry import find_codecs
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

README = (Path(__file__).parents[1] / "README.md").read_text()
GUIDE = (Path(__file__).parents[1] / "rdbench" / "guides" / "inr.md").read_text()
torch.set_num_threads(1)


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_the_codec_of_the_guide_codes_a_clip(tmp_path: Path) -> None:
    (source,) = (block for block in python_blocks() if "class CodesCodec" in block)
    names: dict[str, Any] = {}
    exec(compile(source, "inr.md", "exec", dont_inherit=True), names)
    cls = names["CodesCodec"]
    video = open_video(make_y4m(tmp_path / "a.y4m", 33, 17, 4))
    codec = cls(cls.Settings(epochs=3, finetune_epochs=1))
    clip = Source(video, RgbVideo(video, find_conditions("rgb601")))
    point = codec.rate_point("6K", Clip(video.format, 4))
    workspace = Workspace(tmp_path)
    codec.encode(clip, point, tmp_path / "b", workspace)
    assert workspace.report["parameters"] == pytest.approx(6000, rel=0.05)
    (batch,) = cls.decode(tmp_path / "b", Workspace(tmp_path)).batches()
    assert batch.planes[0].shape == (4, 17, 33)
    assert np.ptp(batch.planes[0]) > 0
    assert count_parameters(names["Codes"](names["CodesConfig"](2, 2, (2,), 3), 4)) == 4 * 12 + (3 * 9 + 1) * 12 + 12


def test_every_codec_is_in_the_table() -> None:
    table = README[README.index("## The codecs") : README.index("## How the numbers")]
    ours = {name for name, points in find_codecs().items() if points[0].value.startswith("rdbench.")}
    assert ours <= set(re.findall(r"`([a-z0-9-]+)`", table))
