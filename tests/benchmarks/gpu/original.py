"""Our training step beside the one of the authors' own program, on the device."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clips import waves

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where the adapters are, which the CPU's table uses too
from side_by_side import Case, compare

CHOICES: Mapping[str, Mapping[str, str]] = {
    "float32": {}, "bfloat16": {"precision": "bfloat16"}, "float32 graphs": {"compile": "graphs"},
    "bfloat16 graphs": {"precision": "bfloat16", "compile": "graphs"},
}  # fmt: skip
"""Settings of our steps; the original has those of its authors: float32, HiNeRV's float16."""


def time_original(
    codec: str, device: str, originals: str, size: str, width: int, height: int, frames: int, blocks: int, steps: int
) -> Iterator[Mapping[str, Any]]:  # fmt: skip
    """A row for each choice of our settings; one with the reason where the original has no such network."""
    case = Case(codec, size, device, blocks=blocks, steps=steps)
    try:
        yield from compare(case, waves(width, height, frames), Path(originals), CHOICES)
    except (ValueError, ImportError) as reason:
        yield {"values": {"refused": str(reason)}}
