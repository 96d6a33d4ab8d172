"""Jobs for the tests of the executors."""

from dataclasses import replace
from typing import Any

from rdbench.runner.sweep import Job

FORMAT = {
    "width": 320, "height": 180, "chroma": "420", "bit_depth": 8, "frame_rate": "25", "full_range": False,
}  # fmt: skip
BASIC = Job(
    codec="x264", name="x264", codec_version="1", settings={},
    sequence={"name": "clip", "dataset": "files", "path": "/nowhere/clip.y4m"}, format=FORMAT, clip_sha256="c" * 64,
    frames=4, point="crf30", point_settings={"crf": 30}, conditions="rgb601", seed=0, command="rdbench run",
)  # fmt: skip


def make_job(codec: str, point: str, **values: Any) -> Job:
    """The job of a codec with its default settings at a rate point."""
    return replace(BASIC, codec=codec, name=codec, point=point, point_settings={"label": point}, **values)
