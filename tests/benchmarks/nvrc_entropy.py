"""Benchmark of NVRC's coder of grids at the paper's S2: 1.9 million values in 2,236 lanes of 1,024 voxels.

    OMP_NUM_THREADS=1 python tests/benchmarks/nvrc_entropy.py
    OMP_NUM_THREADS=1 python tests/benchmarks/nvrc_entropy.py --before OTHER/bin/python OTHER/.../nvrc_entropy.py

The paper: 22.9 s to encode, 37.0 s to decode, all parameters, on an RTX 4090. Grids and context models are random, with
deviations from a fraction of a step to some steps. Prints wall clock and CPU seconds of each direction; with `--before`
also those of another installation with its own copy of this script, run alternately, and the ratio of CPU seconds.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch

from rdbench.codecs.inr.compression.nvrc.context_coder import FixedPointModel, walk
from rdbench.codecs.inr.compression.nvrc.context_model import Blocks, ContextModel
from rdbench.codecs.inr.compression.nvrc.lanes import Lanes, Mask, Place, Positions
from rdbench.codecs.inr.entropy.exact import Floats
from rdbench.codecs.inr.entropy.scale_tables import Integers, ScaleTables, SymbolReader, SymbolWriter

SHAPES = {f"level {n}": (2 << n, 200 >> n, 45 >> n, 80 >> n) for n in range(4)}
STEP, MEAN_LOG_SCALE = float(np.exp(-6.0)), -5.5


def random_model(channels: int) -> ContextModel:
    """A random model whose means are near zero and whose log scales vary by about one."""
    model = ContextModel(channels).double()
    bound = (8 * 63) ** -0.5
    with torch.no_grad():
        model.third.weight.uniform_(-bound, bound).view(channels, 2, -1).mul_(torch.tensor([0.003, 1.5]).view(2, 1))
        model.third.bias.view(channels, 2)[:, 1] = MEAN_LOG_SCALE
    return model


def encode(models: Sequence[FixedPointModel], lanes: Lanes, truth: Integers) -> bytes:
    """The bytes of all lanes' symbols."""
    writer = SymbolWriter(ScaleTables())

    def visit(place: Place, mean: Floats, scale: Floats) -> Floats:
        def code(inside: Mask, voxels: Positions, _: Floats) -> Integers:
            writer.add(truth[voxels], mean[inside] / STEP, scale[inside] / STEP)
            return truth[voxels]

        return lanes.take(place, code)

    walk(models, lanes, visit)
    return writer.finish()


def decode(models: Sequence[FixedPointModel], lanes: Lanes, data: bytes) -> dict[str, Floats]:
    """The values of all grids."""
    reader = SymbolReader(ScaleTables(), data)

    def visit(place: Place, mean: Floats, scale: Floats) -> Floats:
        return lanes.take(place, lambda inside, *_: reader.read(mean[inside] / STEP, scale[inside] / STEP))

    walk(models, lanes, visit)
    reader.finish()
    return lanes.values


def measure() -> None:
    """Encodes and decodes the grids, compares them, and prints sizes and times."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    blocks = {name: Blocks(shape) for name, shape in SHAPES.items()}
    symbols = {
        name: np.rint(grid.split(torch.randn(grid.shape) * torch.rand(grid.shape[0], 1, 1, 1) * 2).double().numpy())
        for name, grid in blocks.items()
    }
    models = [FixedPointModel.of_model(random_model(grid.shape[0])) for grid in blocks.values()]
    steps = {name: np.full((1, 1, 1, 1, 1), STEP) for name in SHAPES}
    truth = Lanes(blocks, steps).arranged(symbols).astype(np.int64)
    before = time.perf_counter(), time.process_time()
    data = encode(models, Lanes(blocks, steps), truth)
    middle = time.perf_counter(), time.process_time()
    values = decode(models, Lanes(blocks, steps), data)
    after = time.perf_counter(), time.process_time()
    assert all(np.array_equal(values[name], symbols[name] * STEP) for name in SHAPES)
    count = sum(int(np.prod(shape)) for shape in SHAPES.values())
    print(f"{count} values, {len(data)} bytes, {torch.get_num_threads()} threads")
    for name, first, last in (("encode", before, middle), ("decode", middle, after)):
        print(f"{name}: {last[0] - first[0]:.2f} s, {last[1] - first[1]:.2f} s of CPU")


def compare(python: str, script: str, repeats: int) -> None:
    """Runs both installations alternately, and prints the medians of their CPU seconds and the ratio."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeats):
        for side, command in (("before", [python, script]), ("after", [sys.executable, __file__])):
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for name, cpu in re.findall(r"(encode|decode): .*, ([\d.]+) s of CPU", output):
                seconds.setdefault((name, side), []).append(float(cpu))
    for name in ("encode", "decode"):
        before, after = (statistics.median(seconds[name, side]) for side in ("before", "after"))
        print(f"{name}: {before:.2f} s of CPU before, {after:.2f} s after, ratio {after / before:.2f}")


def main() -> None:
    """Measures this installation, or compares another with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", nargs=2, metavar=("PYTHON", "SCRIPT"))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.before:
        compare(*options.before, options.repeats)
    else:
        measure()


if __name__ == "__main__":
    main()
