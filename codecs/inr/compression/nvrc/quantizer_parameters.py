"""The parameters of quantizers and entropy models (NVRC's phi), which are quantized and coded in their turn.

Every tensor has a step, a mean and a deviation of its own (psi, the third level), which travel plainly as float16. A
tensor of a single value travels like these, which takes fewer bits than its third level would (our choice).
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError, RdbenchError

from ...entropy.exact import Floats, exact_exp
from ...entropy.gaussian import FURTHEST
from ...entropy.scale_tables import ScaleTables, SymbolReader, SymbolWriter
from ..post_training import MISFIT

INITIAL_LOG_STEP = -4.0
"""Ours; the original's -6 takes longer to grow than short fits last."""
LEAST_SPREAD = 0.02
"""Added to the deviation that a tensor begins with."""
LOG_BOUNDS = (-10.0, 4.0)
LARGEST_HALF = 60_000.0
TRIPLE = 3
"""Log step, mean and log deviation."""
LOWEST_DEVIATION = 0.1
LEAST_PROBABILITY = 1e-9

Proxy = Callable[[Tensor], Tensor]
"""What stands in for rounding."""


def normal_bits(codes: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Bits of each code under a Gaussian integrated over its unit, in units of a step."""
    distance, scale = (codes - mean).abs(), deviation.clamp(min=LOWEST_DEVIATION)
    mass = torch.special.ndtr((0.5 - distance) / scale) - torch.special.ndtr((-0.5 - distance) / scale)
    bits: Tensor = -mass.clamp(min=LEAST_PROBABILITY).log2()
    return bits


def as_half(value: Tensor) -> Tensor:
    """What arrives as float16, with the gradient of what is sent."""
    return value + (value.half().float() - value).detach()


class QuantizerParameters:
    """Tensors by name; those of more than one value with a third level."""

    def __init__(
        self,
        values: Mapping[str, Tensor],
        coded: bool = True,
        log_lr_scale: float = 1.0,
        logarithmic: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Without `coded` all travel plainly; logarithms move `log_lr_scale` times faster than the optimizer's rate."""
        self._log_lr_scale = log_lr_scale
        self._log_lr_scales = {name: log_lr_scale if logarithmic(name) else 1.0 for name in values}
        self._own = {
            n: nn.Parameter(value.detach().clone().float() / self._log_lr_scales[n]) for n, value in values.items()
        }
        self.coded = [name for name, value in values.items() if coded and value.numel() > 1]
        first = next(iter(self._own.values()))
        rows = [
            (INITIAL_LOG_STEP, float(value.mean()), math.log(float(value.std()) + LEAST_SPREAD))
            for value in (values[name].detach() for name in self.coded)
        ]
        self._third = nn.Parameter(torch.tensor(rows, device=first.device).view(-1, TRIPLE) / log_lr_scale)

    @property
    def values(self) -> dict[str, Tensor]:
        """By name, before quantization."""
        return {name: value * self._log_lr_scales[name] for name, value in self._own.items()}

    @property
    def third(self) -> Tensor:
        """Log step, mean and log deviation of every coded tensor, `[n, 3]`."""
        return self._third * self._log_lr_scale

    def parameters(self) -> list[nn.Parameter]:
        """Of both levels."""
        return [*self._own.values(), self._third]

    def counts(self) -> tuple[int, int]:
        """Values of the second level, and of the third as the paper counts it: three for each tensor."""
        return sum(value.numel() for value in self._own.values()), TRIPLE * len(self._own)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {**{name: value.detach() for name, value in self._own.items()}, "third": self._third.detach()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """What `state` gave."""
        with torch.no_grad():
            for name, value in self._own.items():
                value.copy_(state[name])
            self._third.copy_(state["third"])

    def seen(self, proxy: Proxy) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """The tensors as a step sees them, what travels plainly as it arrives, and their bits."""
        values = {name: value if name in self.coded else as_half(value) for name, value in self.values.items()}
        third = as_half(self.third)
        if not self.coded:
            return values, lambda: third.new_zeros(())
        sizes = torch.tensor([values[name].numel() for name in self.coded], device=third.device)
        steps, means, deviations = third.repeat_interleave(sizes, 0).unbind(1)
        steps = steps.clamp(*LOG_BOUNDS).exp()
        codes = proxy(torch.cat([values[name].flatten() for name in self.coded]) / steps)
        parts = (codes * steps).split(sizes.tolist())
        seen = {name: part.view_as(values[name]) for name, part in zip(self.coded, parts, strict=True)}

        def bits() -> Tensor:
            return normal_bits(codes, means / steps, deviations.clamp(*LOG_BOUNDS).exp() / steps).sum()

        return {**values, **seen}, bits

    def write(self, tables: ScaleTables) -> tuple[bytes, bytes, dict[str, Floats]]:
        """The third level, the second, and the values that a decoder will have."""
        values = {name: value.detach().cpu().double().numpy() for name, value in self.values.items()}
        single = [value for name, value in values.items() if name not in self.coded]
        third = self.third.detach().cpu().double().numpy()
        plain = np.concatenate([*(value.ravel() for value in single), third.ravel()])
        if not (np.abs(plain) < LARGEST_HALF).all():
            raise RdbenchError("The fit gave quantizers beyond all bounds; try another --seed or a lower lr.")
        halves = plain.astype("<f2")
        writer, found = SymbolWriter(tables), self._plain(halves.astype(np.float64))
        for name, (step, mean, scale) in self._models(halves.astype(np.float64)).items():
            value = values[name]
            if not (np.abs(value / step) < FURTHEST).all():
                raise RdbenchError("The fit gave quantizers beyond all bounds; try another --seed or a lower lr.")
            codes = np.rint(value / step)
            count = codes.size
            writer.add(codes.ravel().astype(np.int64), np.full(count, mean / step), np.full(count, scale / step))
            found[name] = codes * step
        return halves.tobytes(), writer.finish(), found

    def read(self, tables: ScaleTables, third: bytes, second: bytes) -> dict[str, Floats]:
        """The values of a bitstream; own values matter only by their shapes. Raises BitstreamError."""
        plain = sum(value.numel() for name, value in self._own.items() if name not in self.coded)
        if len(third) != 2 * (plain + TRIPLE * len(self.coded)):
            raise BitstreamError(MISFIT)
        halves = np.frombuffer(third, "<f2").astype(np.float64)
        if not np.isfinite(halves).all():
            raise BitstreamError(MISFIT)
        reader, found = SymbolReader(tables, second), self._plain(halves)
        for name, (step, mean, scale) in self._models(halves).items():
            shape = self._own[name].shape
            count = shape.numel()
            codes = reader.read(np.full(count, mean / step), np.full(count, scale / step))
            found[name] = codes.reshape(shape).astype(np.float64) * step
        reader.finish()
        return found

    def _plain(self, halves: Floats) -> dict[str, Floats]:
        names = [name for name in self._own if name not in self.coded]
        ends = np.cumsum([self._own[name].numel() for name in names], dtype=np.int64)
        parts = np.split(halves, ends)
        return {name: part.reshape(self._own[name].shape) for name, part in zip(names, parts, strict=False)}

    def _models(self, halves: Floats) -> dict[str, tuple[float, float, float]]:
        """Step, mean and deviation of every coded tensor."""
        rows = halves[len(halves) - TRIPLE * len(self.coded) :].reshape(-1, TRIPLE)
        logs = exact_exp(np.clip(rows, *LOG_BOUNDS))
        return {
            name: (float(log[0]), float(row[1]), float(log[2]))
            for name, log, row in zip(self.coded, logs, rows, strict=True)
        }
