"""Steps and decoded frames a second of a codec, with their memory and their share of the machine's peak."""

import copy
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from clips import waves
from machine import peak

from rdbench.codec import Clip, RatePoint, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.prepared import Prepared
from rdbench.codecs.inr.training import compiled
from rdbench.codecs.inr.training.timing import time_stages
from rdbench.errors import UsageError
from rdbench.registry import CodecSpec, create, parse_specs
from rdbench.runner.decoding import DecoderOptions, decode_once

MODES: Mapping[str, Mapping[str, str]] = {
    "eager": {"compile": "false"}, "graphed": {"compile": "graphs"}, "compiled": {"compile": "true"},
}  # fmt: skip
"""Ways to execute a step, each with the settings that choose it."""
MEGABYTE = 1 << 20


def time_codec(
    spec: str, device: str, size: str, width: int, height: int, frames: int, steps: int, preset: str,
    choices: Sequence[Mapping[str, str]], decode: bool, mode: str, backend: str,
) -> Iterator[Mapping[str, Any]]:  # fmt: skip
    """A row for each choice of precision and optimizer, and one for decoding; errors stay in their row.

    `mode` is one of MODES, `backend` the compiler behind torch.compile.
    """
    compiled.BACKEND = backend  # of this process alone
    source, (parsed,) = waves(width, height, frames), parse_specs(spec)
    codec = cast(InrCodec, create(parsed, preset))
    point = codec.rate_point(f"{size}-lambda1" if codec.objective else size, Clip(source.video.format, frames))
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), device)
        ready = codec.prepare(source, point, workspace)
        shared = {"parameters": workspace.report["parameters"], "kMAC/px": workspace.report["kmacs_per_pixel"]}
        for choice in choices:
            own = parsed.with_options({**MODES[mode], **choice})
            name = " ".join([mode, *choice.values()])
            yield {"name": name, **_guarded(_steps, own, preset, ready, point, workspace, steps, shared)}
        del ready
        if decode:
            yield {"name": "decode", **_guarded(_decode, codec, source, point, workspace)}


def _guarded(work: Any, *arguments: Any) -> Mapping[str, Any]:
    """The values, or the error: a codec that fails in bfloat16 is timed in float32 all the same.

    What a codec refuses, such as graphs of steps that cannot be recorded, is a value.
    """
    try:
        return {"values": work(*arguments)}
    except UsageError as error:
        return {"values": {"refused": str(error)}}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[-500:]}


def _steps(
    spec: CodecSpec, preset: str, ready: Prepared, point: RatePoint, workspace: Workspace, steps: int,
    shared: Mapping[str, Any],
) -> Mapping[str, Any]:  # fmt: skip
    """Times all stages of a training that begins with the prepared weights; the values are of the longest stage."""
    codec = cast(InrCodec, create(spec, preset))
    own = replace(
        ready, network=copy.deepcopy(ready.network), encoder=copy.deepcopy(ready.encoder),
        precision=codec.settings.precision, execution=codec.settings.compile,
    )  # fmt: skip
    stages = [stage for stage in codec.stages(point) if stage.epochs]
    longest = max(stages, key=lambda stage: stage.epochs).name
    if own.execution != "false":  # a stage takes a minute to compile
        stages = [stage for stage in stages if stage.name == longest]
    memory = PeakMemory(workspace.device)
    trainer = own.trainer(codec.chosen_compression(), workspace, stages)
    timings = time_stages(trainer, steps, own.macs)
    medians = {timing.name: statistics.median(timing.seconds) for timing in timings}
    main = next(timing for timing in timings if timing.name == longest)
    assert main.flops is not None
    share = main.flops / medians[longest] / peak(workspace.device, main.precision)
    clip = Clip(ready.clip.format, len(ready.frames))
    others = {name: round(1000 * seconds, 2) for name, seconds in medians.items() if name != longest}
    return {
        "steps/s": 1 / medians[longest], "ms": 1000 * medians[longest], "frames/step": main.frames,
        "% of peak": 100 * share, **memory.values(), "expected MiB": codec.expected_gpu_memory_mb(clip, point),
        "other stages, ms": others, "compile, s": trainer.log.seconds or None,
        "execution": trainer.log.text() or None, **shared,
    }  # fmt: skip


def _decode(codec: InrCodec, source: Source, point: RatePoint, workspace: Workspace) -> Mapping[str, Any]:
    """Decodes an untrained network's bitstream twice; the values are of the second, warm decoding."""
    bitstream = workspace.folder / "sample.bin"
    codec.write_sample(source, point, bitstream, workspace)
    options = DecoderOptions(workspace.device, workspace.threads, None, {})
    memory = PeakMemory(workspace.device)
    cold, warm = (decode_once(type(codec), bitstream, options, workspace.device) for _ in range(2))
    return {
        "frames/s": warm.frames / warm.seconds, "rendered frames/s": warm.report.get("render_fps"),
        "entropy decoding, s": warm.parts["entropy_decode"], "cold, s": cold.seconds, **memory.values(),
        "bytes": bitstream.stat().st_size,
    }  # fmt: skip


class PeakMemory:
    """The largest GPU memory since the object was made; on a CPU no values."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._counts = self._device.type == "cuda"
        if self._counts:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)

    def values(self) -> Mapping[str, float]:
        """MiB that torch allocated, that it reserved, and that the whole GPU has in use after the work."""
        if not self._counts:
            return {}
        free, total = torch.cuda.mem_get_info(self._device)
        return {
            "allocated MiB": torch.cuda.max_memory_allocated(self._device) / MEGABYTE,
            "reserved MiB": torch.cuda.max_memory_reserved(self._device) / MEGABYTE,
            "in use MiB": (total - free) / MEGABYTE,
        }
