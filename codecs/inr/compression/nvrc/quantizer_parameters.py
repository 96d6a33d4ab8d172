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
from .bounds import bounded

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
    distance, scale = (codes - mean).abs(), bounded(deviation, LOWEST_DEVIATION)
    mass = torch.special.ndtr((0.5 - distance) / scale) - torch.special.ndtr((-0.5 - distance) / scale)
    bits: Tensor = -bounded(mass, LEAST_PROBABILITY).log2()
    return bits


def as_float16(value: Tensor) -> Tensor:
    """The value rounded to float16, with a straight-through gradient."""
    return value + (value.half().float() - value).detach()


class Coded:
    """The level 3 of some tensors of level 2: a log step, a mean and a log deviation for each."""

    def __init__(self, values: Mapping[str, Tensor], device: torch.device, log_lr_scale: float) -> None:
        """`values`: initial tensors by name."""
        self.names = list(values)
        self._lr_scale = log_lr_scale
        normals = [(float(value.mean()), math.log(float(value.std()) + LEAST_SPREAD)) for value in values.values()]
        self._sizes = [value.numel() for value in values.values()]
        owners = torch.repeat_interleave(torch.arange(len(values)), torch.tensor(self._sizes, dtype=torch.long))
        self._owners = owners.to(device)  # made once: a step must not wait for the host
        steps = torch.full((len(values), 1), INITIAL_LOG_STEP, device=device)
        self._log_steps = nn.Parameter(steps / log_lr_scale)
        self._normals = nn.Parameter(torch.tensor(normals, device=device).view(-1, TRIPLE - 1) / log_lr_scale)

    @property
    def third(self) -> Tensor:
        """Log step, mean and log deviation of every tensor, `[n, 3]`."""
        return torch.cat([self._log_steps, self._normals], 1) * self._lr_scale

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters; log steps are apart from what the rate alone changes."""
        return [self._log_steps, self._normals]

    def quantized(self, values: Mapping[str, Tensor], proxy: Proxy) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """The tensors, quantized by the proxy, and a function for their bits."""
        steps = bounded(as_float16(self._log_steps * self._lr_scale)[self._owners, 0], *LOG_BOUNDS).exp()
        codes = proxy(torch.cat([values[name].flatten() for name in self.names]) / steps)
        parts = (codes * steps).split(self._sizes)

        def bits() -> Tensor:
            means, deviations = as_float16(self._normals * self._lr_scale)[self._owners].unbind(1)
            return normal_bits(codes, means / steps, bounded(deviations, *LOG_BOUNDS).exp() / steps).sum()

        return {name: part.view_as(values[name]) for name, part in zip(self.names, parts, strict=True)}, bits


class QuantizerParameters:
    """Tensors of level 2 by name, and the level 3 of those with more than one value.

    They form two groups: those of quantizers decide what the network's weights are, those of entropy models only the
    rate. A step for the distortion leaves the latter as they are, coded or not, and does not compute them.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        coded: bool = True,
        log_lr_scale: float = 1.0,
        logarithmic: Callable[[str], bool] = lambda _: False,
        quantizing: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`values`: initial tensors by name.

        `coded`: whether tensors are quantized and coded; else all are stored as float16. `logarithmic`: whether the
        tensor of a name holds logarithms; these, and level 3, have `log_lr_scale` times the optimizer's learning rate.
        `quantizing`: whether it belongs to a quantizer.
        """
        self._log_lr_scales = {name: log_lr_scale if logarithmic(name) else 1.0 for name in values}
        self._scaled = {
            n: nn.Parameter(value.detach().clone().float() / self._log_lr_scales[n]) for n, value in values.items()
        }
        self._members = [[n for n in values if quantizing(n)], [n for n in values if not quantizing(n)]]
        device = next(iter(self._scaled.values())).device
        self._groups = [
            Coded({n: values[n].detach() for n in names if coded and values[n].numel() > 1}, device, log_lr_scale)
            for names in self._members
        ]
        self.coded = [name for group in self._groups for name in group.names]

    @property
    def values(self) -> dict[str, Tensor]:
        """The tensors of level 2 by name, before quantization."""
        return {name: value * self._log_lr_scales[name] for name, value in self._scaled.items()}

    @property
    def third(self) -> Tensor:
        """Log step, mean and log deviation of every coded tensor, `[n, 3]`."""
        return torch.cat([group.third for group in self._groups])

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters of levels 2 and 3."""
        return [*self._scaled.values(), *(p for group in self._groups for p in group.parameters())]

    def counts(self) -> tuple[int, int]:
        """Numbers of level 2, and of level 3 as the paper counts them: three for each tensor."""
        return sum(value.numel() for value in self._scaled.values()), TRIPLE * len(self._scaled)

    def state(self) -> dict[str, Tensor]:
        """The parameters for a checkpoint."""
        return {f"{number}": parameter.detach() for number, parameter in enumerate(self.parameters())}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned."""
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.copy_(state[f"{number}"])

    def quantizers(self, proxy: Proxy) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """The tensors of quantizers, coded ones quantized by the proxy and the others as float16; a function for their
        bits.
        """
        return self._quantized(0, proxy)

    def models(self, proxy: Proxy) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """The same of the entropy models' tensors."""
        return self._quantized(1, proxy)

    def _quantized(self, number: int, proxy: Proxy) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        group = self._groups[number]
        values = {name: self._scaled[name] * self._log_lr_scales[name] for name in self._members[number]}
        if not group.names:
            device = next(iter(self._scaled.values())).device
            return {name: as_float16(value) for name, value in values.items()}, lambda: torch.zeros((), device=device)
        coded, bits = group.quantized(values, proxy)
        return {name: coded[name] if name in coded else as_float16(value) for name, value in values.items()}, bits

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
