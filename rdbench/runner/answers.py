"""What a codec says of a job before it runs: operations, memory, what it shares; asked once for each rate point."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TypeVar

from ..codec import Clip, Codec, RatePoint
from ..registry import load_codec
from .sweep import Job

Answer = TypeVar("Answer")


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
    return _answer(lambda made, point: made.encode_macs(clip, point), codec, settings, label, clip)


@cache
def _memory(codec: str, settings: str, label: str, clip: Clip) -> float | None:
    return _answer(lambda made, point: made.expected_gpu_memory_mb(clip, point), codec, settings, label, clip)


@cache
def _shared(codec: str, settings: str, label: str, clip: Clip) -> str | None:
    return _answer(lambda made, point: made.shared_artifact(point), codec, settings, label, clip)


def _answer(
    ask: Callable[[Codec, RatePoint], Answer | None], codec: str, settings: str, label: str, clip: Clip
) -> Answer | None:
    """What the codec with these settings says; None where it fails."""
    with suppress(Exception):  # code of any author; the job itself fails with the reason
        cls = load_codec(codec)
        made = cls(cls.Settings(**json.loads(settings)))
        return ask(made, made.rate_point(label, clip))
    return None
