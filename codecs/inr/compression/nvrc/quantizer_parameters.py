"""Level 2: the parameters of quantizers and entropy models (NVRC's phi), which are quantized and coded too.

Every tensor has a step, a mean and a deviation of its own (level 3, psi), which are stored as float16. A tensor of a
single value is stored as float16 itself, which takes fewer bits than its level 3 would (our choice).
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import RdbenchError

from ...entropy.exact import Floats, exact_exp
from ...entropy.gaussian import LARGEST_SYMBOL
from ...entropy.scale_tables import ScaleTables, SymbolReader, SymbolWriter
from ..float16 import read_float16

INITIAL_LOG_STEP = -4.0
"""Initial log step (our choice; NVRC's code has -6, which grows too slowly for short training)."""
LEAST_SPREAD = 0.02
"""Added to a tensor's initial deviation."""
LOG_BOUNDS = (-10.0, 4.0)
"""Bounds of log steps and log deviations."""
LARGEST_FLOAT16 = 60_000.0
"""Magnitude that numbers stored as float16 stay below, within its range."""
TRIPLE = 3
"""Numbers of level 3 for each tensor: log step, mean and log deviation."""
LOWEST_DEVIATION = 0.1
LEAST_PROBABILITY = 1e-9
DIVERGED = "Training gave quantizers beyond all bounds; try another --seed or a lower lr."

Proxy = Callable[[Tensor], Tensor]
"""A differentiable substitute for rounding."""


def normal_bits(codes: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Bits of each code under a Gaussian integrated over a unit, with mean and deviation in steps."""
    distance, scale = (codes - mean).abs(), deviation.clamp(min=LOWEST_DEVIATION)
    mass = torch.special.ndtr((0.5 - distance) / scale) - torch.special.ndtr((-0.5 - distance) / scale)
    bits: Tensor = -mass.clamp(min=LEAST_PROBABILITY).log2()
    return bits


def as_float16(value: Tensor) -> Tensor:
    """The value rounded to float16, with a straight-through gradient."""
    return value + (value.half().float() - value).detach()


class QuantizerParameters:
    """Tensors of level 2 by name, and the level 3 of those with more than one value."""

    def __init__(
        self,
        values: Mapping[str, Tensor],
        coded: bool = True,
        log_lr_scale: float = 1.0,
        logarithmic: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`values`: initial tensors by name.

        `coded`: whether tensors are quantized and coded; else all are stored as float16. `logarithmic`: whether the
        tensor of a name holds logarithms; these, and level 3, have `log_lr_scale` times the optimizer's learning rate.
        """
        self._log_lr_scale = log_lr_scale
        self._log_lr_scales = {name: log_lr_scale if logarithmic(name) else 1.0 for name in values}
        self._scaled = {
            n: nn.Parameter(value.detach().clone().float() / self._log_lr_scales[n]) for n, value in values.items()
        }
        self.coded = [name for name, value in values.items() if coded and value.numel() > 1]
        first = next(iter(self._scaled.values()))
        rows = [
            (INITIAL_LOG_STEP, float(value.mean()), math.log(float(value.std()) + LEAST_SPREAD))
            for value in (values[name].detach() for name in self.coded)
        ]
        self._sizes = [values[name].numel() for name in self.coded]
        repeats = torch.repeat_interleave(torch.arange(len(self.coded)), torch.tensor(self._sizes, dtype=torch.long))
        self._owners = repeats.to(first.device)  # made once: a step must not wait for the host
        self._third = nn.Parameter(torch.tensor(rows, device=first.device).view(-1, TRIPLE) / log_lr_scale)

    @property
    def values(self) -> dict[str, Tensor]:
        """The tensors of level 2 by name, before quantization."""
        return {name: value * self._log_lr_scales[name] for name, value in self._scaled.items()}

    @property
    def third(self) -> Tensor:
        """Log step, mean and log deviation of every coded tensor, `[n, 3]`."""
        return self._third * self._log_lr_scale

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters of levels 2 and 3."""
        return [*self._scaled.values(), self._third]

    def counts(self) -> tuple[int, int]:
        """Numbers of level 2, and of level 3 as the paper counts them: three for each tensor."""
        return sum(value.numel() for value in self._scaled.values()), TRIPLE * len(self._scaled)

    def state(self) -> dict[str, Tensor]:
        """The parameters for a checkpoint."""
        return {**{name: value.detach() for name, value in self._scaled.items()}, "third": self._third.detach()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned."""
        with torch.no_grad():
            for name, value in self._scaled.items():
                value.copy_(state[name])
            self._third.copy_(state["third"])

    def quantized(self, proxy: Proxy) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """The tensors, coded ones quantized by the proxy and the others as float16; and a function for their bits."""
        values = {name: value if name in self.coded else as_float16(value) for name, value in self.values.items()}
        third = as_float16(self.third)
        if not self.coded:
            return values, lambda: third.new_zeros(())
        steps, means, deviations = third[self._owners].unbind(1)
        steps = steps.clamp(*LOG_BOUNDS).exp()
        codes = proxy(torch.cat([values[name].flatten() for name in self.coded]) / steps)
        parts = (codes * steps).split(self._sizes)
        coded = {name: part.view_as(values[name]) for name, part in zip(self.coded, parts, strict=True)}

        def bits() -> Tensor:
            return normal_bits(codes, means / steps, deviations.clamp(*LOG_BOUNDS).exp() / steps).sum()

        return {**values, **coded}, bits

    def write(self, tables: ScaleTables) -> tuple[bytes, bytes, dict[str, Floats]]:
        """The sections of level 3 and of level 2, and the values of level 2 that a decoder will have."""
        values = {name: value.detach().cpu().double().numpy() for name, value in self.values.items()}
        single = [value for name, value in values.items() if name not in self.coded]
        third = self.third.detach().cpu().double().numpy()
        stored = np.concatenate([*(value.ravel() for value in single), third.ravel()])
        if not (np.abs(stored) < LARGEST_FLOAT16).all():
            raise RdbenchError(DIVERGED)
        halves = stored.astype("<f2")
        writer, decoded = SymbolWriter(tables), self._uncoded(halves.astype(np.float64))
        for name, (step, mean, scale) in self._models(halves.astype(np.float64)).items():
            value = values[name]
            if not (np.abs(value / step) < LARGEST_SYMBOL).all():
                raise RdbenchError(DIVERGED)
            codes = np.rint(value / step)
            count = codes.size
            writer.add(codes.ravel().astype(np.int64), np.full(count, mean / step), np.full(count, scale / step))
            decoded[name] = codes * step
        return halves.tobytes(), writer.finish(), decoded

    def read(self, tables: ScaleTables, third: bytes, second: bytes) -> dict[str, Floats]:
        """The values of level 2 in a bitstream, with the shapes of the present ones. Raises BitstreamError."""
        uncoded = sum(value.numel() for name, value in self._scaled.items() if name not in self.coded)
        halves = read_float16(third, uncoded + TRIPLE * len(self.coded)).astype(np.float64)
        reader, decoded = SymbolReader(tables, second), self._uncoded(halves)
        for name, (step, mean, scale) in self._models(halves).items():
            shape = self._scaled[name].shape
            count = shape.numel()
            codes = reader.read(np.full(count, mean / step), np.full(count, scale / step))
            decoded[name] = codes.reshape(shape).astype(np.float64) * step
        reader.finish()
        return decoded

    def _uncoded(self, halves: Floats) -> dict[str, Floats]:
        """The tensors that are not coded, from the float16 numbers, which begin with them."""
        names = [name for name in self._scaled if name not in self.coded]
        ends = np.cumsum([self._scaled[name].numel() for name in names], dtype=np.int64)
        parts = np.split(halves, ends)
        return {name: part.reshape(self._scaled[name].shape) for name, part in zip(names, parts, strict=False)}

    def _models(self, halves: Floats) -> dict[str, tuple[float, float, float]]:
        """Step, mean and deviation of every coded tensor."""
        rows = halves[len(halves) - TRIPLE * len(self.coded) :].reshape(-1, TRIPLE)
        logs = exact_exp(np.clip(rows, *LOG_BOUNDS))
        return {
            name: (float(log[0]), float(row[1]), float(log[2]))
            for name, log, row in zip(self.coded, logs, rows, strict=True)
        }
