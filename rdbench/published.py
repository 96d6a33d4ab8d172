"""Published curves: CSV files with the columns of records, each row with its source and its test conditions."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .errors import RdbenchError
from .results import COLUMNS, load

REQUIRED = ("codec", "dataset", "sequence", "rate_point", "conditions", "bpp", "source")
TEXT = ("codec", "dataset", "sequence", "rate_point", "conditions", "source")
AVERAGE = "Average"
"""The sequence name of a curve that a paper published as its average only."""


def load_published(paths: Sequence[Path]) -> pd.DataFrame:
    """The rows of the CSV files, or of all CSV files in the folders. Raises RdbenchError naming file and column."""
    files = [file for path in paths for file in (sorted(path.glob("*.csv")) if path.is_dir() else [path])]
    if not files:
        raise RdbenchError(f"There are no CSV files in {', '.join(map(str, paths))}; name files of published curves.")
    frame = pd.concat([_read(file) for file in files], ignore_index=True)
    return frame.reindex(columns=[*COLUMNS, "source"])


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype={name: str for name in TEXT})
    except (OSError, ValueError) as error:
        raise RdbenchError(f"{path} cannot be read as CSV ({error}); check the file.") from error
    for column in REQUIRED:
        if column not in frame or frame[column].isna().any():
            raise RdbenchError(f"{path} lacks values in the column {column!r}; every published point needs one.")
    if not pd.api.types.is_numeric_dtype(frame["bpp"]) or (frame["bpp"] <= 0).any():
        raise RdbenchError(f"{path} has a bpp that is no positive number; correct that row.")
    return frame.assign(status="ok")


def load_any(paths: Sequence[Path]) -> pd.DataFrame:
    """Records of the folders and rows of the CSV files together, with a `source` for the published ones."""
    frames = []
    for path in paths:
        if not path.exists():
            raise RdbenchError(f"There is no {path}; name a folder of records or a CSV file.")
        published = path.suffix == ".csv" or (path.is_dir() and any(path.glob("*.csv")) and not any(path.rglob("record.json")))
        frames.append(load_published([path]) if published else load([path]))
    if len(frames) == 1:
        return frames[0]
    return pd.concat([f.astype(object) for f in frames], ignore_index=True).infer_objects()
