"""Helpers for tests of codecs that are declared in TOML."""

from pathlib import Path
from typing import Any

import numpy as np

from rdbench.codec import Clip, Host, Source, Value, Workspace
from rdbench.codecs.declared import DeclaredCodec
from rdbench.video import Video


def code(cls: type[DeclaredCodec], video: Video, folder: Path, label: str = "q10", **settings: Value) -> Workspace:
    folder.mkdir(exist_ok=True)
    codec = cls(cls.Settings(**settings))
    workspace = Workspace(folder, threads=2, seed=7, host=Host(programs=codec.programs))
    point = codec.rate_point(label, Clip(video.format, video.frames or 0))
    codec.encode(Source(video, video), point, folder / "out.bin", workspace)
    return workspace


def planes(video: Video) -> list[np.ndarray[Any, Any]]:
    return [np.concatenate(p) for p in zip(*(batch.planes for batch in video.batches()), strict=True)]


def same(one: Video, other: Video) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(planes(one), planes(other), strict=True))
