"""What a page shows of single records: quality by frame, and the course of a training, within a size."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...codec import FIT_CURVE
from ...errors import RdbenchError
from .rows import rounded

FRAMES = "frames.csv"
"""Name of the file with the values of each frame, beside a record."""
FRAME_BYTES = 2_500_000
"""Largest size of all curves by frame in a page (our choice)."""
TRAINING_BYTES = 2_500_000
"""Largest size of all training curves in a page (our choice)."""
MOST_TRAINING_POINTS = 120
"""A longer training curve is thinned to this many points, its last among them (our choice)."""
FRAME_METRICS = ("psnr_rgb", "psnr_yuv")
"""Of these a page shows the first that the frames have."""


def frame_curves(rows: pd.DataFrame, folders: Mapping[str, Path], budget: int = FRAME_BYTES) -> dict[str, Any]:
    """PSNR of each frame in dB, by the row's number: `{"rows": {row: {"metric": .., "values": [..]}}, "left_out": n}`.

    Records enter in the order of `_order` until the budget in bytes is spent.
    """
    return _within(rows, folders, budget, FRAMES, _read_frames)


def training_curves(rows: pd.DataFrame, folders: Mapping[str, Path], budget: int = TRAINING_BYTES) -> dict[str, Any]:
    """Seconds and PSNR in dB during training, by the row's number: `{"rows": {row: {"seconds", "psnr"}}, ..}`."""
    return _within(rows, folders, budget, FIT_CURVE, _read_training)


def _within(rows: pd.DataFrame, folders: Mapping[str, Path], budget: int, name: str, read: Any) -> dict[str, Any]:
    """The curves within the budget, and how many were left out."""
    found: dict[str, Any] = {}
    spent = left_out = 0
    for place, record in _order(rows):
        if record not in folders or not os.path.isfile(os.path.join(folders[record], name)):
            continue
        if spent >= budget:
            left_out += 1
            continue
        if curve := read(folders[record] / name):
            found[str(place)] = curve
            spent += len(json.dumps(curve))
    return {"rows": found, "left_out": left_out}


def _order(rows: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Places and ids of rows: the first seed of every series and sequence before the second of any."""
    again = rows.groupby(["series", "dataset", "sequence"])["seed"].rank(method="dense")
    ids = rows["id"].tolist()
    for place in again.reset_index(drop=True).sort_values(kind="stable").index.tolist():
        yield place, str(ids[place])


def _read_frames(path: Path) -> dict[str, Any] | None:
    """The first of FRAME_METRICS that the file has for all frames; None where it has neither. Raises RdbenchError."""
    table = _read(path)
    for metric in FRAME_METRICS:
        texts = [row.get(metric) for row in table]
        if texts and all(texts):
            return {"metric": metric, "values": [round(_number(text, path), 2) for text in texts]}
    return None


def _read_training(path: Path) -> dict[str, Any] | None:
    """The points that have a PSNR, thinned; None where there are none. Raises RdbenchError."""
    known = [row for row in _read(path) if row.get("psnr")]
    kept = [known[place] for place in thinned(len(known), MOST_TRAINING_POINTS)]
    if not kept:
        return None
    seconds = [rounded(_number(row.get("seconds"), path), 4) for row in kept]
    return {"seconds": seconds, "psnr": [round(_number(row["psnr"], path), 2) for row in kept]}


def thinned(count: int, most: int) -> Sequence[int]:
    """At most `most` places below `count` at even distances, the first and the last among them."""
    if count <= most:
        return range(count)
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise RdbenchError(f"The curve {path} is damaged ({error}); run its job again, or delete it.") from error


def _number(text: str | None, path: Path) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise RdbenchError(f"The curve {path} is damaged ({error}); run its job again, or delete it.") from error


def left_out_notes(frames: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """Sentences that say how many curves a page lacks; none where it has all."""
    texts = [("quality by frame", frames), ("course of the training", training)]
    return [
        f"The {what} of {found['left_out']} records was left out to keep the page small; their folders have it."
        for what, found in texts if found["left_out"]
    ]  # fmt: skip
