"""Synthetic records for the tests of reports: curves of four points, as tables."""

from typing import Any

import pandas as pd

from rdbench.report.results import COLUMNS

RATE, QUALITY = (0.1, 0.2, 0.4, 0.8), (30.0, 33.0, 36.0, 39.0)
LIKE: dict[str, Any] = {
    "dataset": "uvg", "conditions": "rgb601/1a", "frames": 8, "status": "ok", "width": 160, "height": 90,
    "device": "cpu", "seed": 0, "started": "2026-01-01",
}  # fmt: skip


def old(codec: str, sequence: str = "A", factor: float = 1.0, lift: float = 0.0, **changes: Any) -> pd.DataFrame:
    """Four points of schema 1, with `factor` times the bits and `lift` dB more than (RATE, QUALITY)."""
    rows = [
        LIKE
        | {"codec": codec, "sequence": sequence, "rate_point": f"p{i}", "bpp": r * factor, "psnr_rgb": q + lift}
        | changes
        for i, (r, q) in enumerate(zip(RATE, QUALITY, strict=True))
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def new(
    codec: str, sequence: str = "A", factor: float = 1.0, lift: float = 0.0, version: str = "1",
    precision: str = "float32", settings: dict[str, Any] | None = None, **changes: Any,
) -> pd.DataFrame:  # fmt: skip
    """The same of schema 2: each row has the identity that its id is a hash of."""
    frame = old(codec, sequence, factor, lift, **changes)
    first = frame.iloc[0]
    shared = {
        "codec": codec, "version": version, "settings": settings or {},
        "clip": changes.get("clip_sha256", f"of {sequence}"),
        "frames": int(first["frames"]), "conditions": first["conditions"], "seed": int(first["seed"]),
        "device": first["device"], "precision": precision, "threads": None,
    }  # fmt: skip
    rows = [shared | {"point": {"size": label}} for label in frame["rate_point"]]
    return frame.assign(identity=pd.Series(rows, index=frame.index, dtype=object))


def frames(*parts: pd.DataFrame) -> pd.DataFrame:
    """All curves in one table."""
    return pd.concat([part.astype(object) for part in parts], ignore_index=True)
