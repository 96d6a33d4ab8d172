"""The records of a page as columns: small, since a page may hold ten thousand, and all that a reader may ask for."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from ..results import RECORD

DIGITS = 6
"""Significant digits of the numbers in a page (our choice); `record.json` has all."""
NUMBERS = (
    "width", "height", "frames", "frame_rate", "bit_depth", "bits", "bpp", "kbps", "psnr_rgb", "psnr_y", "psnr_u",
    "psnr_v", "psnr_yuv", "ms_ssim", "ms_ssim_db", "vmaf", "encode_seconds", "encode_fps", "decode_seconds",
    "decode_fps", "render_fps", "first_frame_seconds", "seek_seconds", "parameters", "kmacs_per_pixel",
    "peak_memory_mb", "energy_joules", "lossless_frames", "seed", "threads", "cpu_cores", "jobs", "load",
)  # fmt: skip
TEXTS = (
    "id", "codec", "dataset", "sequence", "rate_point", "preset", "conditions", "device", "status", "error", "host",
    "cpu", "gpu", "gpu_driver", "started", "source",
)  # fmt: skip
DETAILS = (
    "command", "settings", "versions", "ledger", "parts", "clip_sha256", "bitstream_sha256", "frames_sha256", "seal",
    "energy_stages", "encoder_command",
)  # fmt: skip
"""Columns that only the view of one record shows; those at the end are the first to be left out of a large page."""
DETAIL_BYTES = 6_000_000
"""Largest size of all details together (our choice)."""
_REPORTED = "encoder_command"
"""A setting that the encoder reports: long and other at every rate point, so it gets a column of its own."""


_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_WHOLE = (str, int, bool, type(None))
"""Values that are written as they are."""


def columns(frame: pd.DataFrame) -> tuple[dict[str, Any], list[str]]:
    """The columns of the records, each as `{"values": ..}` or, where values recur, `{"values": .., "codes": ..}`.

    Empty columns are left out. The second value names the details that were left out for their size.
    """
    frame = _with_encoder_command(frame)
    found = {name: _packed(_plain_values(frame[name].tolist())) for name in (*NUMBERS, *TEXTS) if name in frame}
    spent, left_out = 0, []
    for name in (name for name in DETAILS if name in frame):
        column = _packed(_details(frame[name].tolist()))
        size = len(json.dumps(column))
        if spent + size > DETAIL_BYTES:
            left_out.append(name)
            continue
        spent += size
        found[name] = column
    return {name: column for name, column in found.items() if any(v is not None for v in column["values"])}, left_out


def _with_encoder_command(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the encoder's command apart from the other settings."""
    settings = [value if isinstance(value, Mapping) else {} for value in frame["settings"]]
    others = [{name: value for name, value in own.items() if name != _REPORTED} for own in settings]
    commands = [own.get(_REPORTED) for own in settings]
    texts = {"settings": others, "encoder_command": commands}
    return frame.assign(**{name: pd.Series(own, index=frame.index, dtype=object) for name, own in texts.items()})


def _packed(values: list[Any]) -> dict[str, Any]:
    """The values as they are, or each different one once and the place of each row's value."""
    places: dict[Any, int] = {}
    codes = [places.setdefault(value, len(places)) for value in values]
    if len(places) > len(values) / 2:
        return {"values": values}
    return {"values": list(places), "codes": codes}


def _plain_values(values: list[Any]) -> list[Any]:
    """All values of a column as `_plain` gives them; equal ones, as most columns have many, are looked at once."""
    known: dict[Any, Any] = {}
    return [known[value] if value in known else known.setdefault(value, _plain(value)) for value in values]


def _plain(value: Any) -> Any:
    """A number or a text for JSON; None for what is missing or is no finite number."""
    if value is None or value is pd.NA:
        return None
    if isinstance(value, str | bool):
        return value
    number = float(value)
    return rounded(number) if math.isfinite(number) else None


def rounded(number: float, digits: int = DIGITS) -> float | int:
    """The number with the given significant digits; a whole number has no point, and keeps all of its digits."""
    if number == int(number):
        return int(number)
    return float(f"{number:.{digits}g}")


def _details(values: list[Any]) -> list[str | None]:
    """All values of a column as `_detail` gives them; of those that Python writes alike, one is encoded."""
    known: dict[str, str | None] = {}
    return [
        (value or None) if isinstance(value, str)
        else known[text] if (text := repr(value)) in known
        else known.setdefault(text, _detail(value))
        for value in values
    ]  # fmt: skip


def _detail(value: Any) -> str | None:
    """A text as it is; mappings and lists as JSON; None for empty ones."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, Mapping | list | tuple) and value:
        return _COMPACT.encode(_short(value))
    return None


def _short(value: Any) -> Any:
    """The value with all floats in it rounded."""
    if isinstance(value, Mapping):
        return {str(name): inner if type(inner) in _WHOLE else _short(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [inner if type(inner) in _WHOLE else _short(inner) for inner in value]
    return _plain(value) if isinstance(value, float) else value


def locate(folders: Iterable[Path]) -> dict[str, Path]:
    """The folder of each record by its id; of two with one id the one that `results.load` takes."""
    found: dict[str, tuple[tuple[bool, str], Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob(RECORD)) if folder.is_dir() else ():
            values = json.loads(path.read_text())
            rank = values["status"] == "ok", str(values.get("started", ""))
            if values["id"] not in found or rank > found[values["id"]][0]:
                found[values["id"]] = rank, path.parent
    return {name: folder for name, (_, folder) in found.items()}


def links(ids: Sequence[Any], found: Mapping[str, Path], page: Path) -> list[str | None]:
    """The address of each record's folder, relative to the page and escaped; None where there is no folder."""
    start = page.resolve().parent
    # Many records stand in one folder, and resolving a path asks the disk for each of its parts.
    parents: dict[str, str] = {}

    def relative(folder: Path) -> str:
        above, own = os.path.split(folder)
        if not own or own == os.pardir or os.path.islink(folder):
            return os.path.relpath(folder.resolve(), start)
        if above not in parents:
            parents[above] = os.path.relpath(os.path.realpath(above), start)
        return own if parents[above] == os.curdir else os.path.join(parents[above], own)

    folders = (found.get(str(name)) for name in ids)
    return [None if folder is None else quote(relative(folder).replace(os.sep, "/")) + "/" for folder in folders]
