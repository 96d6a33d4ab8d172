"""Damaged INR bitstreams of every compression scheme, each signed again: refused or decoded, and nothing else.

    OMP_NUM_THREADS=1 PYTHONPATH=tests python tests/benchmarks/stream_mutations.py [mutations] [seconds] [seed]

Damages the golden streams in turn until `mutations` are tried (14,000 by default) or `seconds` have passed (600), and
prints a row for each stream: damaged streams, refused with BitstreamError, decoded to frames, other exceptions, and
the longest CPU time of one in seconds. Every other exception is also printed with the seed that makes it again.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import golden
import numpy as np
import torch
from mutations import codec_class, golden_sections, mutate, outcome


@dataclass
class Row:
    """What became of one stream's damaged copies."""

    refused: int = 0
    decoded: int = 0
    other: int = 0
    slowest: float = 0.0

    def line(self, name: str) -> str:
        """The row of the table."""
        tried = self.refused + self.decoded + self.other
        return f"{name:<40} {tried:>8} {self.refused:>8} {self.decoded:>8} {self.other:>6} {self.slowest:>8.2f}"


def attempt(name: str, seed: int, folder: Path, row: Row) -> None:
    """Damages the stream once and counts what happens."""
    start = time.process_time()
    try:
        if outcome(codec_class(name), mutate(golden_sections(name), np.random.default_rng(seed)), folder) == "refused":
            row.refused += 1
        else:
            row.decoded += 1
    except Exception as error:
        row.other += 1
        print(f"{name}, seed {seed}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    row.slowest = max(row.slowest, time.process_time() - start)


def main(mutations: int = 14_000, seconds: int = 600, first: int = 0) -> None:
    """Tries them all and prints the table."""
    rows = {name: Row() for name in golden.INR}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(mutations):
            if time.monotonic() - start > seconds:
                break
            name = golden.INR[number % len(golden.INR)]
            attempt(name, first + number, Path(folder), rows[name])
    print(f"{'stream':<40} {'damaged':>8} {'refused':>8} {'decoded':>8} {'other':>6} {'slowest':>8}")
    for name, row in rows.items():
        print(row.line(name))
    parts = list(rows.values())
    total = Row(*(sum(getattr(row, kind) for row in parts) for kind in ("refused", "decoded", "other")))
    total.slowest = max(row.slowest for row in parts)
    print(total.line("total"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*(int(argument) for argument in sys.argv[1:]))
