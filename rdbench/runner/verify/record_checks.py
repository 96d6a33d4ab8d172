"""Checks of a record that need neither its clip nor its codec: identity, bitstream, and fields that follow from others.

Times, energy, memory, the machine's description and the encoder's command line cannot be checked by anyone afterwards;
only their agreement with each other is.
"""

import csv
import math
import os
import stat
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...clips.dataset import file_sha256
from ...measure.metrics import LOSSLESS_DB
from ...report.results import Record
from ..devices import device_class
from ..sweep import digest
from .findings import Finding, compare, compare_keys, note, shown, unknown, wrong

IDENTITY_FIELDS = (
    "codec", "version", "settings", "clip", "frames", "conditions", "seed", "device", "precision", "threads", "point",
)  # fmt: skip
PROOFS = ("identity", "clip_sha256", "bitstream_sha256", "frames_sha256")
"""Fields that records of schema 1 lack."""
BYTES_OF_A_ROW = 2000
"""Longest row of frames.csv that is read (our choice; ours have up to 300 bytes)."""


def base_name(record: Record) -> str:
    """The codec's name without its options."""
    return record.codec.partition("[")[0]


def check_values(record: Record) -> Iterator[Finding]:
    """Whether the values are possible at all, and what an older record lacks."""
    positive: dict[str, float | None] = {
        name: getattr(record, name) for name in ("frames", "width", "height", "frame_rate", "bit_depth", "threads")
    }
    positive |= {"bits": record.bits, "bpp": record.bpp, "kbps": record.kbps}
    positive |= {name: getattr(record, name) for name in ("encode_seconds", "decode_seconds")}
    for name, value in positive.items():
        if value is None or value <= 0:
            yield wrong(f"{name}: {shown(value)} in the record, which no finished job has")
    lacking = [name for name in PROOFS if not getattr(record, name)]
    if lacking and record.schema_number >= 2:
        yield wrong(f"{', '.join(lacking)}: missing, which schema {record.schema_number} must have")
    elif lacking:
        yield note(f"schema {record.schema_number} has no {', '.join(lacking)}, so these were not checked")


def check_identity(record: Record, folder: str) -> Iterator[Finding]:
    """The id is that of the folder's name and the hash of the identity, whose parts agree with the visible fields."""
    if not folder.endswith(f"-{record.id}"):
        yield wrong(f"id: {shown(record.id)} in the record, but the folder is named {shown(folder)}")
    identity = record.identity
    if not identity:
        return
    yield from compare("id", record.id, digest(identity), "is the hash of its identity")
    if set(identity) != set(IDENTITY_FIELDS):
        names = ", ".join(sorted(set(identity) ^ set(IDENTITY_FIELDS)))
        yield wrong(f"identity: {shown(names)} is missing or not part of an identity")
        return
    visible = {
        "codec": base_name(record), "version": record.versions.get("codec"), "clip": record.clip_sha256,
        "frames": record.frames, "conditions": record.conditions, "seed": record.seed,
        "device": device_class(record.device),
    }  # fmt: skip
    for name, value in visible.items():
        yield from compare(name, value, identity[name], "in its identity")
    if identity["threads"] is not None:
        yield from compare("threads", record.threads, identity["threads"], "in its identity")
    if not all(isinstance(identity[name], dict) for name in ("settings", "point")):
        yield wrong("identity: settings or point is no table")
        return
    settings = {name: value for name, value in record.settings.items() if name != "encoder_command"}
    yield from compare_keys("settings", settings, {**identity["settings"], **identity["point"]}, "in its identity")


def check_bitstream(record: Record, bitstream: Path) -> Iterator[Finding]:
    """Size and SHA-256 of the bitstream. A file that is missing or no regular one cannot be checked."""
    try:
        status = os.lstat(bitstream)
    except OSError as error:
        yield unknown(f"bitstream: {bitstream.name} is not beside the record ({error.strerror})")
        return
    if not stat.S_ISREG(status.st_mode):
        yield wrong(f"bitstream: {bitstream.name} is no regular file")
        return
    if record.bits != 8 * status.st_size:
        yield wrong(f"bits: {record.bits} in the record, {8 * status.st_size} in {bitstream.name}")
        return
    if record.bitstream_sha256:
        yield from compare("bitstream_sha256", record.bitstream_sha256, file_sha256(bitstream), f"of {bitstream.name}")


def check_derived(record: Record) -> Iterator[Finding]:
    """The fields that follow from other fields of the record; `check_values` found the values possible."""
    assert record.bits
    assert record.encode_seconds
    assert record.decode_seconds
    pixels, size = record.frames * record.width * record.height, record.bits // 8
    follow: dict[str, tuple[object, object]] = {
        "bpp": (record.bpp, record.bits / pixels),
        "kbps": (record.kbps, record.bits * record.frame_rate / record.frames / 1000),
        "encode_fps": (record.encode_fps, record.frames / record.encode_seconds),
        "decode_fps": (record.decode_fps, record.frames / record.decode_seconds),
        "ms_ssim_db": (record.ms_ssim_db, _decibels(record.ms_ssim)),
        "sum of the ledger": (sum(record.ledger.values()), size),
    }
    if record.schema_number >= 2:
        stages = record.energy_stages
        follow["energy_joules"] = (record.energy_joules, math.fsum(stages.values()) if stages else None)
        samples = record.decode_samples
        median = statistics.median(samples) if samples else record.decode_cold_seconds
        follow["decode_seconds"] = (record.decode_seconds, median)
    for name, (recorded, actual) in follow.items():
        yield from compare(name, recorded, actual, "follows from its other fields")


def _decibels(similarity: float | None) -> float | None:
    """MS-SSIM in dB; None without MS-SSIM."""
    if similarity is None:
        return None
    return LOSSLESS_DB if similarity >= 1 else -10 * math.log10(1 - similarity)


def check_frames_csv(record: Record, path: Path) -> Iterator[Finding]:
    """The means over the rows of the file with the values of each frame, where it is there, are those of the record."""
    if not os.path.lexists(path):
        yield note(f"{path.name} is not beside the record")
        return
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode) or path.stat().st_size > BYTES_OF_A_ROW * (record.frames + 1):
            raise ValueError("it is no file of that many rows")
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        means = {name: _mean(rows, name) for name in ("psnr_rgb", "psnr_y", "psnr_u", "psnr_v", "psnr_yuv", "ms_ssim")}
    except (OSError, ValueError, csv.Error) as error:
        yield wrong(f"{path.name}: it cannot be read ({shown(str(error))})")
        return
    yield from compare("frames", record.frames, len(rows), f"rows in {path.name}")
    for name, mean in means.items():
        yield from compare(name, getattr(record, name), mean, f"is the mean of {path.name}")


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    """The mean of a column; None where it is empty. Raises ValueError for what is no number."""
    texts = [row.get(name) or "" for row in rows]
    if not any(texts):
        return None
    return math.fsum(float(text) for text in texts) / len(texts)
