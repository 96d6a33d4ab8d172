"""The training loop: stages of a recipe, checkpoints between epochs, and the curve of quality over time."""

import csv
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rdbench.codec import Workspace
from rdbench.errors import RdbenchError

from .losses import LOSSES

CHECKPOINT_SECONDS = 20.0
"""At most so much work is lost when a fit is killed (our choice)."""


Kept = list[tuple[nn.Parameter, Tensor]]
"""Parameters and the masks that hold some of their weights at zero."""


@dataclass(frozen=True)
class Stage:
    """A part of a fit: its epochs, and the schedule of its learning rate.

    The rate rises from a tenth over the `warmup` share of the epochs and then falls to 0 as a cosine (NeRV).
    """

    name: str
    epochs: int
    lr: float
    warmup: float = 0.2
    loss: str = "l1_ssim"
    batch: int = 1
    betas: tuple[float, float] = (0.5, 0.999)

    def rate(self, epoch: float) -> float:
        """The learning rate at a fractional epoch."""
        warm = int(self.warmup * self.epochs)
        if epoch < warm:
            return self.lr * (0.1 + 0.9 * epoch / warm)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (epoch - warm) / max(1, self.epochs - warm)))


@dataclass
class Curve:
    """Rows of (stage, epoch, seconds, PSNR of that epoch's training frames)."""

    rows: list[tuple[str, int, float, float]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """The rows as CSV."""
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("stage", "epoch", "seconds", "psnr"), *self.rows])


class Fit:
    """A fit that survives being killed: `run` a stage after the other; what a checkpoint holds is not done again."""

    def __init__(self, network: nn.Module, frames: Tensor, workspace: Workspace, total_epochs: int) -> None:
        self.network, self.frames, self.workspace = network, frames, workspace
        self._total, self._done = total_epochs, 0
        self._curve, self._seconds = Curve(), 0.0
        self._path = workspace.folder / "checkpoint.pt"
        self._saved = _load(self._path, network, frames.device)

    def run(self, stage: Stage, masks: dict[str, Tensor] | None = None) -> None:
        """Fits the network for one stage; masked weights stay zero. Raises RdbenchError where the loss diverges."""
        if self._saved is not None and repr(stage) not in (self._saved["stage"], *self._saved["finished"]):
            raise RdbenchError(f"The checkpoint {self._path} is of another recipe; delete it and run again.")
        if self._saved is not None and repr(stage) in self._saved["finished"]:
            self._done += stage.epochs
            return
        optimizer = torch.optim.Adam(self.network.parameters(), lr=stage.lr, betas=stage.betas)
        first = self._resume(optimizer)
        kept: Kept = [(p, masks[n]) for n, p in self.network.named_parameters() if masks and n in masks]
        _apply(kept)
        saved_at = started = time.perf_counter()
        before = self._seconds
        for epoch in range(first, stage.epochs):
            psnr = self._epoch(stage, optimizer, epoch, kept)
            self._seconds = before + time.perf_counter() - started
            self._curve.rows.append((stage.name, epoch + 1, round(self._seconds, 3), round(psnr, 4)))
            last = epoch + 1 == stage.epochs
            if last or time.perf_counter() - saved_at > CHECKPOINT_SECONDS:
                self._save(stage, epoch + 1, optimizer)
                saved_at = time.perf_counter()
            text = f"{stage.name} {epoch + 1}/{stage.epochs}, {psnr:.2f} dB"
            self.workspace.progress(self._done + epoch + 1, self._total, text)
        self._done += stage.epochs
        self._finished = [*self._finished_before(), repr(stage)]
        self._curve.write(self.workspace.folder / "fit.csv")

    _finished: Sequence[str] = ()

    def _finished_before(self) -> list[str]:
        return list(self._finished)

    def _epoch(self, stage: Stage, optimizer: torch.optim.Adam, epoch: int, kept: Kept) -> float:
        """One pass over all frames in an order that only seed, stage and epoch decide; returns the PSNR in dB."""
        count = len(self.frames)
        order = torch.randperm(count, generator=_generator(self.workspace.seed, stage.name, epoch))
        loss_of, error = LOSSES[stage.loss], torch.zeros((), device=self.frames.device)
        for start in range(0, count, stage.batch):
            chosen = order[start : start + stage.batch].to(self.frames.device)
            for group in optimizer.param_groups:
                group["lr"] = stage.rate(epoch + start / count)
            target = self.frames[chosen].float() / 255
            output = self.network(chosen)
            loss = loss_of(output, target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            _apply(kept)
            error += (output.detach() - target).square().mean() * len(chosen) / count
        mean = float(error)
        if not math.isfinite(mean):
            raise RdbenchError(
                f"The fit diverged in epoch {epoch + 1} of {stage.name}; try another --seed or a lower lr."
            )
        return -10 * math.log10(max(mean, 1e-10))

    def _save(self, stage: Stage, epoch: int, optimizer: torch.optim.Adam) -> None:
        state = {
            "stage": repr(stage), "epoch": epoch, "finished": self._finished_before(), "curve": self._curve.rows,
            "seconds": self._seconds, "network": self.network.state_dict(), "optimizer": optimizer.state_dict(),
        }  # fmt: skip
        partial = self._path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._path)

    def _resume(self, optimizer: torch.optim.Adam) -> int:
        """Takes up the checkpoint, if there is one for this stage; returns the epoch to begin with."""
        if self._saved is None:
            return 0
        saved, self._saved = self._saved, None
        self.network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        self._curve.rows = [tuple(row) for row in saved["curve"]]
        self._seconds = float(saved["seconds"])
        self._finished = saved["finished"]
        return int(saved["epoch"])


def _load(path: Path, network: nn.Module, device: torch.device) -> dict[str, Any] | None:
    """The checkpoint, if there is one; the network gets its weights, also where a stage's end left them."""
    if not path.exists():
        return None
    try:
        saved = dict(torch.load(path, map_location=device, weights_only=True))
        network.load_state_dict(saved["network"])
    except Exception as error:  # torch raises many kinds for a damaged file
        raise RdbenchError(f"The checkpoint {path} is damaged or of another fit; delete it and run again.") from error
    return saved


def _apply(kept: Kept) -> None:
    with torch.no_grad():
        for parameter, mask in kept:
            parameter.mul_(mask)


def _generator(seed: int, stage: str, epoch: int) -> torch.Generator:
    mixed = (seed * 1_000_003 + sum(stage.encode()) * 7_919 + epoch) % (1 << 63)
    return torch.Generator().manual_seed(mixed)
