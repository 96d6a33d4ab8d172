"""A record encoded once more from its own description, and held against the record or against its other seeds."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...clips.dataset import file_sha256
from ...codec import Progress
from ...measure.statistics import prediction_interval
from ...report.results import Record
from ..devices import device_class
from ..files import BITSTREAM, WORK
from ..job import check_bitstream, measure_bitstream
from ..stage import JobError, StageRunner
from ..sweep import Job
from .findings import Finding, note, same, unknown, wrong
from .rebuild import Tool


def check_refit(
    record: Record, tool: Tool, job: Job, finished: Sequence[Record], progress: Progress
) -> Iterator[Finding]:  # fmt: skip
    """Encodes again; the bitstream must be the same, or for a codec that is trained as good as with other seeds.

    `finished` holds the other records, among which the other seeds are.
    """
    if reason := _obstacle(record, tool, job):
        yield unknown(f"refit: {reason}")
        return
    with tempfile.TemporaryDirectory() as name:
        stages = StageRunner(job, Path(name), progress, threading.Event(), None)
        try:
            bits, sha256 = _encode(stages)
            if sha256 == record.bitstream_sha256:
                yield note("refit: the same bitstream")
            elif tool.codec.kind == "conventional":
                yield wrong(f"refit: another bitstream, {bits} bits where the record has {record.bits}")
            else:
                summary = measure_bitstream(stages, stages.folder / BITSTREAM)["summary"]
                yield from hold_against_seeds(record, {**summary, "bits": bits}, finished)
        except JobError as error:
            yield unknown(f"refit: {error}")


def _obstacle(record: Record, tool: Tool, job: Job) -> str | None:
    """Why the record cannot be encoded again here, or None."""
    if not record.identity or record.bitstream_sha256 is None:
        return f"schema {record.schema_number} does not hold the whole description of a job"
    if not tool.is_same:
        return tool.difference
    if device_class(job.device) != device_class(record.device):
        return f"it was encoded on {device_class(record.device)}, and this is {device_class(job.device)}"
    return None


def _encode(stages: StageRunner) -> tuple[int, str]:
    """Bits and SHA-256 of the new bitstream. Raises JobError."""
    folder = stages.folder
    bitstream, work = folder / BITSTREAM, folder / WORK
    job_file = stages.write_job()
    stages.run_worker("encode", job_file, bitstream, work, folder / "shared")
    check_bitstream(bitstream)
    return 8 * bitstream.stat().st_size, file_sha256(bitstream)


def hold_against_seeds(record: Record, again: dict[str, Any], finished: Sequence[Record]) -> Iterator[Finding]:
    """PSNR and bits of the new bitstream lie in the 95 % prediction interval of the curve's other seeds."""
    seeds = [other for other in finished if _differs_by_seed(other, record)]
    quality = "psnr_rgb" if record.psnr_rgb is not None else "psnr_yuv"
    for name in (quality, "bits"):
        known = [value for other in seeds if (value := getattr(other, name)) is not None]
        interval = prediction_interval(known)
        if interval is None:
            yield unknown(
                f"refit: the bits differ, and {len(known)} other seeds are too few to hold {name} against: "
                f"{again[name]} here, {getattr(record, name)} in the record"
            )
            continue
        low, high = interval
        text = f"{again[name]} here, {getattr(record, name)} in the record, {low:.6g} to {high:.6g} by other seeds"
        inside = low <= again[name] <= high or same(again[name], low) or same(again[name], high)
        yield note(f"refit: {name}: {text}") if inside else wrong(f"refit: {name}: {text}")


def _differs_by_seed(other: Record, record: Record) -> bool:
    """Whether two records are one rate point of one curve but for the seed."""
    if not other.identity or other.seed == record.seed:
        return False
    return {**other.identity, "seed": None} == {**record.identity, "seed": None}
