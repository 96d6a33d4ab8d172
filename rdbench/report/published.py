"""Published curves: CSV files with the columns of records, each row with its source and its test conditions."""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import RdbenchError
from . import results
from .results import COLUMNS, QUALITY, RECORD

REQUIRED = ("codec", "dataset", "sequence", "rate_point", "conditions", "bpp", "source")
TEXT = ("codec", "dataset", "sequence", "rate_point", "conditions", "source")
AVERAGE = "Average"
"""The sequence name of a curve that a paper published as its average only."""
SHIPPED = "published"
"""What stands for the folder of the shipped curves, wherever rdbench is installed."""


def shipped_folder() -> Path:
    """The folder of the published curves that come along. Raises RdbenchError where the installation lacks it."""
    spec = importlib.util.find_spec("rdbench.published")
    if spec is None or spec.origin is None:
        raise RdbenchError("The published curves of rdbench are not installed; install rdbench again.")
    return Path(spec.origin).parent


def load_published(paths: Sequence[Path]) -> pd.DataFrame:
    """The rows of the CSV files, or of all CSV files in the folders. Raises RdbenchError naming file and column."""
    files = [file for path in paths for file in (sorted(path.glob("*.csv")) if path.is_dir() else [path])]
    if not files:
        raise RdbenchError(f"There are no CSV files in {', '.join(map(str, paths))}; name files of published curves.")
    parts = [_read(file).reindex(columns=[*COLUMNS, "source"]) for file in files]
    frame = pd.concat([part.astype(object) for part in parts], ignore_index=True).infer_objects()
    # Two repositories may publish the same point of the same curve; it counts once.
    return frame.drop_duplicates(["codec", "dataset", "sequence", "conditions", "bpp", *QUALITY], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str))
    except (OSError, ValueError) as error:
        raise RdbenchError(f"{path} cannot be read as CSV ({error}); check the file.") from error
    for column in REQUIRED:
        if column not in frame or frame[column].isna().any():
            raise RdbenchError(f"{path} lacks values in the column {column!r}; every published point needs one.")
    if not pd.api.types.is_numeric_dtype(frame["bpp"]) or (frame["bpp"] <= 0).any():
        raise RdbenchError(f"{path} has a bpp that is no positive number; correct that row.")
    for column in (name for name in QUALITY if name in frame and frame[name].notna().any()):
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise RdbenchError(f"{path} has a {column} that is no number; correct that row or leave it empty.")
    if "ms_ssim" in frame and "ms_ssim_db" not in frame:
        frame["ms_ssim_db"] = [_decibel(value) for value in frame["ms_ssim"]]
    return frame.assign(status="ok")


def _decibel(ms_ssim: float) -> float | None:
    """-10 log10(1 - MS-SSIM) of the published mean; None for a value outside 0 to 1."""
    return -10 * math.log10(1 - ms_ssim) if 0 <= ms_ssim < 1 else None


def load_any(paths: Sequence[Path]) -> pd.DataFrame:
    """Records of the folders together with rows of the CSV files; published rows have a `source`."""
    folders, curves = _kinds(paths)
    return _joined([results.load(folders)] if folders else [], curves)


def load_located(paths: Sequence[Path]) -> tuple[pd.DataFrame, dict[str, Path]]:
    """What `load_any` gives, and the folder of each record by its id.

    `published` means the shipped curves where there is no file or folder of that name. Raises RdbenchError.
    """
    folders, curves = _kinds(paths)
    if not folders:
        return _joined([], curves), {}
    records, places = results.load_located(folders)
    return _joined([records], curves), places


def _kinds(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The folders of records, and the files and folders of published curves. Raises RdbenchError."""
    folders: list[Path] = []
    curves: list[Path] = []
    for given in paths:
        path = shipped_folder() if str(given) == SHIPPED and not given.exists() else given
        if not path.exists():
            raise RdbenchError(
                f"There is no {path}; name a folder of records or a CSV file, or {SHIPPED} for the curves of papers."
            )
        has_curves = path.is_dir() and any(path.glob("*.csv")) and not any(path.rglob(RECORD))
        (curves if path.suffix == ".csv" or has_curves else folders).append(path)
    return folders, curves


def _joined(records: list[pd.DataFrame], curves: Sequence[Path]) -> pd.DataFrame:
    """The records, if any, together with the rows of the curves, if any."""
    frames = [*records, *([load_published(curves)] if curves else [])]
    if len(frames) == 1:
        return frames[0]
    return pd.concat([f.astype(object) for f in frames], ignore_index=True).infer_objects()
