"""What the jobs of a plan cost: time by the codec's own estimate or a rate, memory, and disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .answers import encode_macs
from .rates import REFERENCE_GPU, Rate, device_name, find_rate, stated_rate
from .sweep import Job

MOST_BITS_PER_PIXEL = 1.0
"""Rate of a bitstream whose size no setting limits; the curves of papers end at half of it (our choice)."""
PARAMETER_BYTES = 4
"""Bytes of a parameter in a bitstream at most, as a float32 that nothing compresses."""
CHECKPOINT_BYTES = 64
"""Bytes of a parameter in checkpoints: weights, their average, two moments of the optimizer, twice while one replaces
the other, and as much again (our choice)."""
RAW_COPIES = 2
"""Copies of the raw frames that a conventional encoder may need beside its bitstream: source and reconstruction."""
RECORD_BYTES, FRAME_BYTES = 1 << 20, 300
"""Bytes of a record with its log, and of a frame's values, at most (our choice)."""


@dataclass(frozen=True)
class Basis:
    """What an estimated time is based on: a measured `rate`, or a `stated` peak of a device; neither: the codec."""

    rate: Rate | None = None
    stated: str | None = None


FROM_CODEC = Basis()
"""The codec's own estimate, or none."""


@dataclass(frozen=True)
class Disk:
    """Bytes at most: `kept` of all jobs, and `work` of a job while it runs."""

    kept: int
    work: int


def with_estimate(job: Job, rates: Sequence[Rate]) -> tuple[Job, Basis]:
    """The job with the best estimate of its encode time: by a measured rate, by the codec, by a GPU's stated peak."""
    macs = encode_macs(job)
    if macs is None:
        return job, FROM_CODEC
    name = device_name(job.device, job.threads)
    pixels = job.video_format.width * job.video_format.height
    measured = find_rate(rates, name, job.codec, pixels, point_size(job))
    if measured is not None:
        return replace(job, estimate=macs / measured.macs_per_second), Basis(rate=measured)
    if job.device != "cpu" and name == job.device:  # there is no GPU here that has a name
        name = REFERENCE_GPU
    stated = stated_rate(name) if job.device != "cpu" else None
    if job.estimate is not None or stated is None:
        return job, FROM_CODEC
    return replace(job, estimate=macs / stated), Basis(stated=name)


def point_size(job: Job) -> int:
    """The parameters that the rate point names; 0 where it names none."""
    size = job.point_settings.get("size")
    return size if isinstance(size, int) and not isinstance(size, bool) else 0


def disk(job: Job) -> Disk:
    """What the job writes, at most."""
    raw = job.frames * job.video_format.frame_bytes
    pixels = job.frames * job.video_format.width * job.video_format.height
    size = point_size(job)
    others = RECORD_BYTES + FRAME_BYTES * job.frames
    if size:
        return Disk(PARAMETER_BYTES * size + others, CHECKPOINT_BYTES * size)
    return Disk(int(MOST_BITS_PER_PIXEL * pixels / 8) + others, RAW_COPIES * raw)
