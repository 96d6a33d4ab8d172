"""SelectingCodec: the base of codecs that train several candidate networks for one stage and go on with the best."""

import math
import shutil
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from rdbench.codec import Clip, RatePoint, Source, Workspace

from .codec import ClipHeader, InrCodec
from .compression.scheme import Scheme
from .networks.network import Network, render, to_device
from .rendering import synchronize
from .training.trainer import CHECKPOINT


@dataclass(frozen=True)
class Trial:
    """What a candidate gives after the first stage."""

    psnr: float
    """Mean over the frames, in dB, of the frames that the compressed weights give."""
    bits: int
    """Bits of the compressed weights."""

    def __str__(self) -> str:
        """As `23.41 dB in 91224 bits`."""
        return f"{self.psnr:.2f} dB in {self.bits} bits"


def measure(network: Network, empty: Network, scheme: Scheme, frames: Tensor) -> Trial:
    """Compresses a network by the scheme, reads it into `empty`, the same on the meta device, and renders all frames.

    `frames`: `[N, 3, H, W]`, 8 bit, on the device to render on.
    """
    sections = scheme.write(network)
    scheme.read(empty, sections)
    to_device(empty, str(frames.device))
    empty.eval()
    quality = [_psnr(empty, frames, number) for number in range(len(frames))]
    return Trial(sum(quality) / len(quality), 8 * sum(map(len, sections.values())))


@torch.no_grad()
def _psnr(network: Network, frames: Tensor, number: int) -> float:
    index = torch.tensor([number], device=frames.device)
    shown = render(network, index, network.frame_grid, *frames.shape[2:])
    error = (shown.float() - frames[index].float() / 255).square().mean()
    return -10 * math.log10(max(float(error), 1e-10))


def best(trials: Sequence[Trial], db_per_doubling: float, tie: float) -> int:
    """The number of the trial of the least J = D + lambda R; 0 unless its J is smaller than the first's by over `tie`.

    D is the squared error in dB and R the rate in bits. Lambda, in dB per bit, is the slope at the first trial's rate
    of a curve that rises by `db_per_doubling` for twice the rate.
    """
    weight = db_per_doubling / math.log(2) / trials[0].bits
    costs = [weight * trial.bits - trial.psnr for trial in trials]
    least = min(range(len(trials)), key=costs.__getitem__)
    return least if costs[0] - costs[least] > tie else 0


class SelectingCodec(InrCodec):
    """A codec with candidates, which are compared by rate and distortion after the first stage of their training.

    The encode time has all of it: the part `select` is the first stage of every candidate.
    """

    db_per_doubling: ClassVar[float]
    """Quality that twice the rate is worth, in dB."""
    tie: ClassVar[float]
    """Smallest advantage over the first candidate, in dB."""

    @abstractmethod
    def candidates(self) -> "Sequence[SelectingCodec]":
        """Codecs that have no candidates, the preferred one first; none where the settings name one network."""

    @abstractmethod
    def trial_scheme(self) -> Scheme:
        """The scheme that compresses the candidates for their comparison."""

    @property
    @abstractmethod
    def candidate_name(self) -> str:
        """How progress and records name this candidate."""

    def able(self, clip: Clip, point: RatePoint) -> "Sequence[SelectingCodec]":
        """The candidates with a network of the rate point's size; the first one always, for which a size is refused."""
        header, size = ClipHeader.of(clip), int(point.settings["size"])
        return [codec for number, codec in enumerate(self.candidates()) if number == 0 or codec.meets(header, size)]

    def encode_macs(self, clip: Clip, point: RatePoint) -> float:
        """The multiply-accumulates of all steps: of the first candidate, and of the first stage of the others."""
        stages = self.stages(point)
        share = stages[0].epochs / sum(stage.epochs for stage in stages)
        others = self.able(clip, point)[1:]
        return super().encode_macs(clip, point) + share * sum(codec.encode_macs(clip, point) for codec in others)

    def expected_gpu_memory_mb(self, clip: Clip, point: RatePoint) -> float | None:
        """That of the candidate that needs the most."""
        needed = [codec.expected_gpu_memory_mb(clip, point) or 0.0 for codec in self.able(clip, point)]
        return max(needed) if needed else super().expected_gpu_memory_mb(clip, point)

    def shared_artifact(self, point: RatePoint) -> str | None:
        """None where candidates are compared, since each lambda may choose another."""
        return None if self.candidates() else super().shared_artifact(point)

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Compares the candidates, trains on with the best, and writes it."""
        video, watch = source.rgb, workspace.stopwatch
        count = sum(map(len, video.batches())) if video.frames is None else video.frames
        candidates = self.able(Clip(video.format, count), point)
        if not candidates:
            super().encode(source, point, bitstream, workspace)
            return
        first, epochs = self.stages(point)[0].epochs, sum(stage.epochs for stage in self.stages(point))
        more = (len(candidates) - 1) * first
        trials, seconds = list[Trial](), list[float]()
        for number, codec in enumerate(candidates):
            own = _with_progress(workspace, number * first, more + epochs, codec.candidate_name)
            with watch.part("select"):
                trial, trained, inherited = codec.try_out(source, point, own)
            watch.borrow("select", inherited)
            trials.append(trial)
            seconds.append(trained)
        chosen = best(trials, self.db_per_doubling, self.tie)
        _continue_from(workspace.folder, candidates[chosen].candidate_name)
        candidates[chosen].encode(source, point, bitstream, _with_progress(workspace, more, more + epochs))
        watch.borrow("fit", -seconds[chosen])  # they are in `select`
        found = ", ".join(f"{codec.candidate_name} {trial}" for codec, trial in zip(candidates, trials, strict=True))
        able = {codec.candidate_name for codec in candidates}
        others = [name for codec in self.candidates() if (name := codec.candidate_name) not in able]
        texts = (
            workspace.report.get("execution"), f"{candidates[chosen].candidate_name} chosen of {found}",
            f"no network of this size: {', '.join(others)}" if others else None,
        )  # fmt: skip
        workspace.report["execution"] = "; ".join(filter(None, texts))

    def try_out(self, source: Source, point: RatePoint, workspace: Workspace) -> tuple[Trial, float, float]:
        """Trains the first stage; what it gives, its seconds, and those of them that another process took."""
        ready = self.prepare(source, point, workspace)
        trainer = ready.trainer(self.chosen_compression(), workspace, self.stages(point)[:1])
        trainer.run()
        synchronize(ready.frames.device)
        empty = self.rebuild(ready.clip, ready.network.final_config(ready.config).numbers())
        trial = measure(ready.network, empty, self.trial_scheme(), ready.frames)
        return trial, trainer.curve.rows[-1][2], trainer.inherited


def _with_progress(workspace: Workspace, before: int, total: int, name: str = "") -> Workspace:
    """The workspace of a part of the training, after so many epochs in all; with a name, in a folder of its own."""
    folder = workspace.folder / name
    folder.mkdir(exist_ok=True)

    def progress(done: float, _: float, text: str) -> None:
        workspace.progress(before + done, total, f"{name}: {text}" if name else text)

    return replace(workspace, folder=folder, progress=progress)


def _continue_from(folder: Path, name: str) -> None:
    """Copies the checkpoint of a candidate, which the whole training resumes, unless it has one of its own."""
    start = folder / CHECKPOINT
    if not start.exists():
        partial = start.with_suffix(".copy")
        shutil.copyfile(folder / name / CHECKPOINT, partial)
        partial.replace(start)
