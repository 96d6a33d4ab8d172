"""What a codec says of a job before it runs: operations, memory, what it shares; asked once for each rate point."""

import json
from contextlib import suppress
from functools import cache

from ..codec import Clip, Codec, RatePoint
from ..registry import load_codec
from .sweep import Job


def encode_macs(job: Job) -> float | None:
    """Multiply-accumulates of the encoding; None where the codec does not say, or fails at it."""
    return _macs(*_facts(job))


def memory_mb(job: Job) -> float | None:
    """MiB that the encoding is expected to need on a GPU, and about that on a CPU; None where unknown."""
    return _memory(*_facts(job))


def shared_key(job: Job) -> str | None:
    """The key of the artifact that the job shares with others; None where it shares nothing."""
    return _shared(*_facts(job))


def _facts(job: Job) -> tuple[str, str, str, Clip]:
    """What decides the codec's answers, hashable."""
    clip = Clip(job.video_format, job.frames, tuple(job.clip.sizes))
    return job.codec, json.dumps(job.settings, sort_keys=True), job.point, clip


@cache
def _macs(codec: str, settings: str, label: str, clip: Clip) -> float | None:
    with suppress(Exception):  # code of any author; the job itself fails with the reason
        made, point = _open(codec, settings, label, clip)
        return made.encode_macs(clip, point)
    return None


@cache
def _memory(codec: str, settings: str, label: str, clip: Clip) -> float | None:
    with suppress(Exception):
        made, point = _open(codec, settings, label, clip)
        return made.expected_gpu_memory_mb(clip, point)
    return None


@cache
def _shared(codec: str, settings: str, label: str, clip: Clip) -> str | None:
    with suppress(Exception):
        made, point = _open(codec, settings, label, clip)
        return made.shared_artifact(point)
    return None


def _open(codec: str, settings: str, label: str, clip: Clip) -> tuple[Codec, RatePoint]:
    cls = load_codec(codec)
    made = cls(cls.Settings(**json.loads(settings)))
    return made, made.rate_point(label, clip)
