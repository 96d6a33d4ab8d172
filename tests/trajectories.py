"""The training of a small network, step by step from given weights, beside what the authors' own code gives.

`trajectories.json` has the PSNR before each of 40 steps of the released code of each paper, and `test_trajectories.py`
compares it with ours. Clip, frame order and initial weights follow from formulas, so that both sides can make them:
`rdbench guide originals` describes how the numbers were made and how to make those of another network.

    python tests/trajectories.py hnerv              # ours, the original's, and the differences
    python tests/trajectories.py hnerv -o hnerv.npz # the clip and the initial weights, for the original's side
"""

import argparse
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rdbench.codec import Workspace
from rdbench.codecs.dnerv import DNeRVConfig
from rdbench.codecs.enerv import ENeRVConfig
from rdbench.codecs.ffnerv import FFNeRVConfig
from rdbench.codecs.hinerv import HiNeRVConfig
from rdbench.codecs.hnerv import HNeRVConfig
from rdbench.codecs.hnerv_boost import HNeRVBoostConfig
from rdbench.codecs.inr.codec import ClipHeader, InrCodec
from rdbench.codecs.inr.networks.network import NetworkConfig
from rdbench.codecs.inr.recipes.optimizers import apply_schedule
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.codecs.nerv import NeRVConfig
from rdbench.registry import create, parse_specs

KEPT = Path(__file__).with_name("trajectories.json")
FRAMES = 10
EPOCHS = 4
"""A tenth and a fifth of which are no whole number of epochs, so that the end of a warm-up shows."""


@dataclass(frozen=True)
class Comparison:
    """A small network of a codec, and how closely ours must agree."""

    options: str
    """Those that differ from the paper's."""
    config: NetworkConfig
    height: int
    width: int
    tolerance: float
    """Largest difference in dB, about ten times the one measured; Adam turns gradients that are zero but for rounding
    into steps, most of all in HiNeRV's grids and in E-NeRV's normalization."""
    late: int = 0
    """Steps by which the original's learning rate lags behind its schedule."""


COMPARISONS: Mapping[str, Comparison] = MappingProxyType(
    {
        "nerv": Comparison("lr=2e-3", NeRVConfig(2, 4, (5, 2, 2), 16, 32, 8, 1, 8), 40, 80, 1e-4),
        "enerv": Comparison(
            "lr=2e-3", ENeRVConfig(2, 4, (5, 2, 2), 16, 32, 24, 64, 20, 128, 8, 2, 8), 40, 80, 1e-2
        ),
        "hnerv": Comparison("batch=1,lr=2e-3", HNeRVConfig(2, 4, (5, 2, 2), 24, 24, 4), 40, 80, 1e-3),
        "hnerv-boost": Comparison(
            "lr=2e-3", HNeRVBoostConfig(2, 4, (5, 2, 2), 24, 4, 12, 16, 8, 8), 40, 80, 1e-2
        ),
        "ffnerv": Comparison("lr=2e-3", FFNeRVConfig(2, 4, (5, 2, 2), 8, 16, 8, finest=10, levels=2), 40, 80, 2e-3),
        "dnerv": Comparison("lr=2e-3", DNeRVConfig(2, 3, (2,) * 5, 24, 24, 3, 4), 64, 96, 1e-3),
        "hinerv": Comparison(
            "patches=false", HiNeRVConfig(2, 2, (5, 4, 2), 16, 64, grid_frames=6, local_channels=4, depth=2), 80, 80,
            5e-2, late=1,
        ),
    }
)  # fmt: skip
"""By the name of the codec. HiNeRV's loss needs frames of more than 64 rows and columns; its released loop sets the
learning rate of a step after that step, so the next one uses it. FFNeRV's loop had a frame buffer in 8 bits and one
convention of warping, as ours (the guide has both); a sample of it that rounds the other way shows at 0.0002 dB."""


def clip(height: int, width: int) -> NDArray[np.uint8]:
    """Two moving triangle waves for each channel, `[10, 3, height, width]`, in whole numbers."""
    n, c, y, x = np.ogrid[:FRAMES, :3, :height, :width]
    waves = [(5 + c) * x + 3 * y + 9 * n, 2 * x - (4 + c) * y + 13 * n]
    summed: NDArray[np.int64] = sum((np.abs(wave % 256 - 128) for wave in waves), start=np.zeros(1, np.int64))
    return np.minimum(summed, 255).astype(np.uint8)


def initial(name: str, shape: tuple[int, ...], number: int) -> NDArray[np.float32]:
    """The initial values of parameter `number`, in the order of our network and then our encoder.

    Uniform in +-1 over the square root of the inputs of a weight, or in +-0.1; scales of normalizations lie around 1.
    NumPy keeps the numbers of RandomState for all time.
    """
    values = np.random.RandomState(number).uniform(-1, 1, shape)
    if len(shape) > 1:
        values /= math.sqrt(math.prod(shape[1:]))
    else:
        values = 0.1 * values + name.endswith(("weight", "scale"))
    return values.astype(np.float32)


def weights(modules: Mapping[str, nn.Module | None], left_out: frozenset[str]) -> dict[str, NDArray[np.float32]]:
    """The initial values of all parameters by name, the module's before it; `left_out` are not trained as such."""
    named = [
        (f"{prefix}{name}", parameter)
        for prefix, module in modules.items() if module is not None
        for name, parameter in module.named_parameters() if f"{prefix}{name}" not in left_out
    ]  # fmt: skip
    return {name: initial(name, tuple(p.shape), number) for number, (name, p) in enumerate(named)}


def prepare(name: str, folder: Path) -> tuple[Trainer, dict[str, NDArray[np.float32]]]:
    """The trainer of a comparison, with the initial weights in place, and these weights."""
    torch.set_num_threads(1)
    about = COMPARISONS[name]
    (spec,) = parse_specs(f"{name}[epochs={EPOCHS},{about.options}]")
    codec = create(spec, "paper")
    assert isinstance(codec, InrCodec)
    header = ClipHeader(about.width, about.height, FRAMES, 25, 1)
    network = codec.build(about.config, header)
    encoder = codec.encoder(network, header)
    modules = {"": network, "encoder.": encoder}
    values = weights(modules, encoder.makes if encoder else frozenset())
    named = {f"{prefix}{key}": p for prefix, m in modules.items() if m is not None for key, p in m.named_parameters()}
    with torch.no_grad():
        for key, value in values.items():
            named[key].copy_(torch.from_numpy(value))
    frames = torch.from_numpy(clip(about.height, about.width))
    return Trainer(network, codec.compression(), frames, Workspace(folder), codec.recipe(), encoder), values


def trajectory(name: str, folder: Path) -> list[float]:
    """The PSNR in dB before each step of ours, one frame a step, in display order in each epoch."""
    trainer, _ = prepare(name, folder)
    stage, late = trainer.stages[0], COMPARISONS[name].late
    trainer.network.enter(stage)
    trainer.scheme.enter(trainer.network, stage)
    optimizer, _ = trainer.start(stage)
    quality = []
    for number in range(EPOCHS * FRAMES):
        apply_schedule(stage, optimizer, max(0, number - late) / FRAMES)
        trainer.scheme.advance(stage.progress(number / FRAMES))
        error: Tensor = trainer.step(stage, optimizer, torch.tensor([number % FRAMES]), number + 1)
        quality.append(-10 * math.log10(float(error)))
    return quality


def kept() -> dict[str, list[float]]:
    """The numbers of the originals by codec."""
    numbers: dict[str, list[float]] = json.loads(KEPT.read_text())
    return numbers


def main() -> None:
    """Prints a comparison, or writes what the original's side needs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("codec", choices=COMPARISONS)
    parser.add_argument("-o", "--out", type=Path, help="write the clip and the initial weights to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.out is not None:
            about, (_, values) = COMPARISONS[arguments.codec], prepare(arguments.codec, Path(folder))
            arrays: dict[str, Any] = {"clip": clip(about.height, about.width), **values}
            np.savez(arguments.out, **arrays)
            return
        ours = trajectory(arguments.codec, Path(folder))
    theirs = kept().get(arguments.codec, [math.nan] * len(ours))
    print("step  original      ours  difference")
    for number, (original, own) in enumerate(zip(theirs, ours, strict=True)):
        print(f"{number:4}  {original:8.4f}  {own:8.4f}  {own - original:+.1e}")


if __name__ == "__main__":
    main()
