"""A training step: forward pass, loss, rate, backward pass, optimizer."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..compression.scheme import Scheme
from ..networks.encoder import Encoder
from ..networks.network import Network, Patches, TrainingOutputs, compared
from ..recipes.losses import terms_of, weighted_sum
from ..recipes.stage import Stage
from .precision import Precision, autocast, make_scaler

Outputs = Sequence[tuple[float | Tensor, Tensor, Tensor]]
"""Outputs of a network, each with its loss weight before it and its target after it."""


class Samples:
    """Training samples: 8-bit frames `[N, 3, H, W]` on the device, whole or as patches of the network's grid."""

    def __init__(self, frames: Tensor, network: Network) -> None:
        self.frames, self.grid = frames, network.grid
        height, width = network.patch_size
        self._rows = _positions(self.grid[0], height, frames.shape[2], frames.device)
        self._columns = _positions(self.grid[1], width, frames.shape[3], frames.device)
        self._channels = torch.arange(3, device=frames.device)[:, None, None]

    def count(self, by_patches: bool) -> int:
        """The number of samples."""
        return len(self.frames) * (math.prod(self.grid) if by_patches else 1)

    def batch(self, stage: Stage) -> int:
        """The number of samples in a step."""
        return stage.batch * self.count(stage.by_patches) // len(self.frames)

    def patches(self, chosen: Tensor) -> tuple[Patches, Tensor]:
        """Patches by number: their positions, and their pixels `[B, 3, h, w]` in 0..1."""
        cells = math.prod(self.grid)
        cell = chosen % cells
        at = Patches(chosen // cells, cell // self.grid[1], cell % self.grid[1], self.grid)
        rows, columns = self._rows[at.rows][:, None, :, None], self._columns[at.columns][:, None, None, :]
        return at, self.frames[at.frames[:, None, None, None], self._channels, rows, columns].float() / 255

    def pixels(self, area: Literal["clip", "frame"]) -> int:
        """Pixels of the clip or of one frame."""
        count, _, height, width = self.frames.shape
        return height * width * (count if area == "clip" else 1)

    def whole(self, chosen: Tensor) -> Tensor:
        """Frames by index, `[B, 3, H, W]` in 0..1."""
        return self.frames[chosen].float() / 255


def _positions(cells: int, size: int, side: int, device: torch.device) -> Tensor:
    """The pixels `[cells, size]` of each patch along a side of the frame, whose last one is repeated beyond it."""
    return torch.arange(cells * size, device=device).clamp(max=side - 1).view(cells, size)


@dataclass(frozen=True)
class Passes:
    """The forward passes of a step: what its time goes into, and what can be compiled."""

    encode: Callable[[Tensor], Mapping[str, Tensor]]
    """The embeddings of frames `[B]` by the encoder network; no tensors without one."""
    distort: Callable[[Mapping[str, Tensor], Tensor], tuple[Tensor, Tensor]]
    """The loss without the rate, and the mean squared error, for weights by name and the samples `[B]`."""


class Steps:
    """Takes the steps of a training; their state is that of the network, the scheme and the optimizer."""

    def __init__(
        self, network: Network, scheme: Scheme, samples: Samples, encoder: Encoder | None, precision: Precision
    ) -> None:
        self.network, self.scheme, self.samples, self.encoder = network, scheme, samples, encoder
        self.device, self.precision = samples.frames.device, precision
        self.scaler = make_scaler(precision, self.device)
        self.bits: Tensor | None = None
        """Bits of all transmitted tensors as the scheme estimated them in the last step for the rate."""
        self._called = TrainingOutputs(network)

    def passes(self, stage: Stage) -> Passes:
        """The forward passes of a stage, not compiled."""
        terms, encoder = terms_of(stage.loss), self.encoder

        def encode(frames: Tensor) -> Mapping[str, Tensor]:
            return {} if encoder is None else dict(encoder(self.samples.whole, frames))

        def distort(weights: Mapping[str, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
            with autocast(self.precision, self.device):
                outputs = self._compare(stage, chosen, weights)
            losses = [weight * weighted_sum(terms, output.float(), target) for weight, output, target in outputs]
            _, first, target = outputs[0]
            error = (first.detach().float() - target).square().mean()
            return torch.stack(losses).sum(), error

        return Passes(encode, distort)

    def take(
        self, stage: Stage, optimizer: torch.optim.Optimizer, passes: Passes, chosen: Tensor, number: int
    ) -> Tensor:
        """Step `number` of a stage, from 1, followed by a step for the rate after every `rate_every` steps.

        Returns the mean squared error before the step as a tensor, so that the device is not synchronized.
        """
        error = self._frame_step(stage, optimizer, passes, chosen)
        if stage.rate_every and number % stage.rate_every == 0:
            self._rate_step(stage, optimizer, passes, chosen)
        return error

    def _frame_step(
        self, stage: Stage, optimizer: torch.optim.Optimizer, passes: Passes, chosen: Tensor
    ) -> Tensor:  # fmt: skip
        with autocast(self.precision, self.device):
            tensors = self.tensors(passes, chosen)
            weights = self._weights(tensors)
        loss, error = passes.distort(weights, chosen)
        if stage.rate_weight and not stage.rate_every and (bits := self.scheme.rate(tensors)) is not None:
            self.bits = bits.detach()
            loss = loss + stage.rate_weight * bits / self.samples.pixels(stage.rate_area)
        self._descend(stage, optimizer, loss)
        return error

    def _rate_step(self, stage: Stage, optimizer: torch.optim.Optimizer, passes: Passes, chosen: Tensor) -> None:
        """A step for the rate alone, with the weight of all steps since the last one."""
        tensors = self.tensors(passes, chosen)
        self.scheme.substitute(tensors)
        bits = self.scheme.rate(tensors)
        if bits is not None:
            self.bits = bits.detach()
            weight = stage.rate_every * stage.rate_weight / self.samples.pixels(stage.rate_area)
            self._descend(stage, optimizer, weight * bits)

    def _descend(self, stage: Stage, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if stage.clip_norm is not None:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], stage.clip_norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        self.scheme.after_step(self.network)

    def tensors(self, passes: Passes, chosen: Tensor) -> dict[str, Tensor]:
        """All transmitted tensors by name; this batch's embeddings are recomputed by the encoder and cached."""
        tensors: dict[str, Tensor] = dict(self.network.named_parameters())
        if self.encoder is not None:
            frames = self.encoder.frames_needed(chosen)
            for name, rows in passes.encode(frames).items():
                stored = tensors[name].detach()
                stored.index_copy_(0, frames, rows.detach().to(stored.dtype))
                tensors[name] = stored.index_copy(0, frames, rows.to(stored.dtype))
        return tensors

    @torch.no_grad()
    def rehearse(self, stage: Stage, chosen: Tensor) -> None:
        """The network's pass of a step with its own weights, which changes nothing."""
        with autocast(self.precision, self.device):
            self._compare(stage, chosen, {})

    def _weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the forward pass by their names in `TrainingOutputs`."""
        embeddings = {} if self.encoder is None else {name: tensors[name] for name in self.encoder.makes}
        return {f"network.{name}": tensor for name, tensor in {**embeddings, **self.scheme.substitute(tensors)}.items()}

    def _compare(self, stage: Stage, chosen: Tensor, weights: Mapping[str, Tensor]) -> Outputs:
        at, target = (
            self.samples.patches(chosen)
            if stage.by_patches
            else (Patches.of_frames(chosen, self.network.frame_grid), self.samples.whole(chosen))
        )
        outputs = torch.func.functional_call(self._called, dict(weights), (at,))
        if stage.by_patches:
            return [(weight, output, target) for weight, output in outputs]
        return [(weight, *compared(output, target, self.network)) for weight, output in outputs]
