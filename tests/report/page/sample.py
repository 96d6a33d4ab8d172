"""Folders of records for tests of pages: curves with known differences, with the files beside each record."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdbench.report.results import Record, write_record

RATES = (0.1, 0.2, 0.4, 0.8)


def write_records(
    folder: Path, codecs: Mapping[str, float], sequences: Sequence[str] = ("A", "B"), seeds: Sequence[int] = (0,),
    files: bool = False, **changes: Any,
) -> None:  # fmt: skip
    """Four rate points for each codec, sequence and seed; a codec needs `factor` times the bits of one with 1.

    The second sequence has other qualities; a second seed needs 2 % more bits. `files` adds frames.csv and fit.csv.
    """
    for codec, factor in codecs.items():
        for number, sequence in enumerate(sequences):
            for seed in seeds:
                for place, rate in enumerate(RATES):
                    bpp = rate * factor * (1 + 0.02 * seed)
                    own = record(codec, sequence, seed, place, bpp, 30 + 3 * place + number, changes)
                    home = folder / "runs" / f"{place}-{own.id}".replace("/", "_")
                    write_record(home / "record.json", own)
                    if files:
                        _write_files(home)


def record(
    codec: str, sequence: str, seed: int, place: int, bpp: float, psnr: float, changes: Mapping[str, Any]
) -> Record:
    """One record; `changes` replace its values."""
    bits = round(bpp * 160 * 90 * 8)
    shared = {
        "codec": codec, "version": "1", "settings": {}, "clip": sequence, "frames": 8, "conditions": "rgb601/1a",
        "seed": seed, "device": "cpu", "precision": "float32", "threads": None,
    }  # fmt: skip
    values: dict[str, Any] = {
        "codec": codec, "dataset": "set", "sequence": sequence, "rate_point": f"p{place}", "conditions": "rgb601/1a",
        "settings": {"width": 8 * place, "encoder_command": f"enc p{place}"}, "width": 160, "height": 90, "frames": 8,
        "frame_rate": 25.0, "bit_depth": 8, "bits": bits, "bpp": bpp, "kbps": bits / 320, "psnr_rgb": psnr,
        "ms_ssim": 1 - 10 ** (-psnr / 30), "ms_ssim_db": psnr / 3, "encode_seconds": 10.0 * math.sqrt(place + 1),
        "decode_fps": 100.0 / (place + 1), "parameters": 1000 * (place + 1), "seed": seed, "status": "ok",
        "cpu": "a CPU", "id": f"{codec}-{sequence}-{seed}-{place}", "ledger": {"header": 10, "weights": 90},
        "parts": {"fit": 9.0}, "command": f"rdbench run --codecs {codec}", "identity": shared,
        "started": "2026-01-02T03:04:05", "bitstream_sha256": f"{place:064x}", "schema": 2, "jobs": 1,
    }  # fmt: skip
    return Record(**(values | changes))


def _write_files(home: Path) -> None:
    (home / "frames.csv").write_text("frame,psnr_rgb,psnr_yuv\n0,30.123,31\n1,32.5,33\n")
    (home / "fit.csv").write_text("stage,epoch,seconds,psnr\nfit,0,1.0,20.5\nfit,1,2.0,\nfit,2,3.5,25.25\n")
