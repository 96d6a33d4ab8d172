"""The fused block of HiNeRV, NVRC and TeNeRV against the plain layers and torch.compile, one shape after the other."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rdbench.codecs.inr.networks.layers.fused_block import Block, can_fuse, fused_block, plain_block
from rdbench.codecs.inr.networks.layers.fused_launch import values_moved

WIDTHS = (
    ("hinerv", 4, 70, 280, 70, False), ("hinerv", 2, 70, 70, 35, False), ("hinerv", 1, 35, 35, 35, False),
    ("nvrc", 4, 168, 672, 84, False), ("nvrc", 2, 84, 336, 84, False), ("nvrc", 1, 42, 168, 42, False),
    ("tenerv", 2, 66, 264, 66, True), ("tenerv", 1, 33, 33, 33, True),
)  # fmt: skip
"""Codec, pixels of the frame over those of the map on each axis, widths before, inside and after, affine: stages of
HiNeRV S, NVRC S2 and TeNeRV 3M."""
FRAMES = ((1280, 720), (1920, 1080))
ROUNDS = 5


def time_blocks(device: str, toy: bool, precision: str = "bfloat16") -> Iterator[Mapping[str, Any]]:
    """A row for each codec's shape and frame size: ms of forward and backward pass, GB/s of the fused kernels' traffic.

    Implementations take turns, and the median of ROUNDS counts. A column is missing where the implementation cannot
    run: fused without CUDA and Triton, compiled where `toy`.
    """
    for width, height in ((24, 16),) if toy else FRAMES:
        for codec, scale, before, hidden, after, affine in WIDTHS[-2:] if toy else WIDTHS:
            block = make_block(before, hidden, after, affine, device)
            x = torch.randn(1, height // scale, width // scale, before, device=device)
            name = f"{codec} {width // scale}x{height // scale} {before}-{hidden}-{after} {precision}"
            yield {"name": name, "values": _row(x, block, getattr(torch, precision), compiled=not toy)}


def make_block(before: int, hidden: int, after: int, affine: bool, device: str) -> Block:
    """A block with random weights, as TeNeRV's where `affine`, else as HiNeRV's and NVRC's."""

    def values(*shape: int) -> Tensor:
        return nn.Parameter(torch.randn(shape, device=device) / 3)

    widen, narrow = nn.Linear(before, hidden, affine, device), nn.Linear(hidden, after, affine, device)
    vectors = (values(before), values(before), values(before)) if affine else (None, None, None)
    return Block(values(before, 3, 3), *vectors, widen, narrow, 1e-6, before == after)


def _row(x: Tensor, block: Block, dtype: torch.dtype, compiled: bool) -> Mapping[str, float]:
    leaves = [x.requires_grad_(), *block.parameters()]

    def work(implementation: Callable[..., Tensor]) -> Callable[[], object]:
        def once() -> object:
            with torch.autocast(x.device.type, dtype, enabled=dtype is not torch.float32):
                y = implementation(x, block)
            return torch.autograd.grad(y, leaves, torch.ones_like(y))

        return once

    works = {"plain": work(plain_block)}
    if can_fuse(x, block):
        works["fused"] = work(fused_block)
    if compiled:
        works["compiled"] = work(torch.compile(plain_block))
    row = {f"{name}, ms": 1000 * seconds for name, seconds in _medians(works, x.is_cuda).items()}
    if "fused" in works:
        size = torch.finfo(dtype).bits // 8
        widths = block.widen.in_features, block.widen.out_features, block.narrow.out_features
        moved = values_moved(*widths) * x.numel() // x.shape[-1] * size
        row["fused, GB/s"] = moved / row["fused, ms"] / 1e6
        row["plain / fused"] = row["plain, ms"] / row["fused, ms"]
    return row


def _medians(works: Mapping[str, Callable[[], object]], cuda: bool) -> dict[str, float]:
    """Seconds of each, measured in turn after one pass to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS + 1):
        for name, once in works.items():
            started = time.perf_counter()
            once()
            if cuda:
                torch.cuda.synchronize()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the rows; `--toy` on a CPU rehearses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--toy", action="store_true")
    chosen = parser.parse_args(arguments)
    for row in time_blocks(chosen.device, chosen.toy):
        print(row["name"], *(f"{name}: {value:.3f}" for name, value in row["values"].items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
