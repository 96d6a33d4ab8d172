"""Milliseconds of a training step, ours against the authors' own, of the same network in turns: a Markdown table.

    OMP_NUM_THREADS=1 python tests/benchmarks/step_times.py --originals DIR
    OMP_NUM_THREADS=1 python tests/benchmarks/step_times.py --originals DIR --codecs nerv,hinerv --blocks 15
    OMP_NUM_THREADS=1 python tests/benchmarks/step_times.py --originals DIR --ours float32,bfloat16,compiled,muon

DIR holds the authors' repositories in folders of their names, which have to be fetched: NeRV, HNeRV (haochen-rye),
E-NeRV (kyleleey), FFNeRV (maincold2), Boosting-NeRV, DNeRV (qwertja), HiNeRV (hmkx). `originals.py` says how they are
used. Packages besides ours: einops, for E-NeRV alone. Both sides have the same configuration (the number of trained
parameters is compared), frames, batch, loss and optimizer, and float32 unless `--ours` names another way for our side.
Times are CPU time, medians of blocks in turns.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from originals import ORIGINALS
from side_by_side import Case, compare

sys.path.append(str(Path(__file__).with_name("gpu")))

CASES: dict[str, tuple[str, int, int]] = {
    "nerv": ("400K", 320, 180), "enerv": ("1M", 320, 180), "ffnerv": ("400K", 320, 180),
    "hinerv": ("400K", 320, 180), "hnerv": ("400K", 640, 320), "hnerv-boost": ("400K", 640, 320),
    "dnerv": ("400K", 640, 320),
}  # fmt: skip
"""Size, width and height for each codec: originals cannot pad, so the strides have to divide the frame."""
WAYS: dict[str, dict[str, str]] = {
    "float32": {}, "bfloat16": {"precision": "bfloat16"}, "compiled": {"compile": "true"},
    "bfloat16-compiled": {"precision": "bfloat16", "compile": "true"}, "muon": {"optimizer": "muon"},
}  # fmt: skip
"""Settings of our side, by what `--ours` calls them."""
COLUMNS = ("ours, ms", "original, ms", "ours / original", "its metrics, ms", "ours / original with metrics")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=Path, required=True, help="the folder of the authors' repositories")
    parser.add_argument("--codecs", default=",".join(ORIGINALS))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1, help="frames in a step")
    parser.add_argument("--ours", default="float32", help=f"ways of our side: {', '.join(WAYS)}")
    parser.add_argument("--blocks", type=int, default=7, help="blocks of steps that each side takes")
    parser.add_argument("--steps", type=int, default=2, help="steps in a block")
    return parser.parse_args(arguments)


def main() -> None:
    """Prints a row for each codec."""
    from clips import waves

    options = parse()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    print(f"| codec | ours | frame | parameters | {' | '.join(COLUMNS)} |", "|---" * (4 + len(COLUMNS)) + "|", sep="\n")
    ways = {name: WAYS[name] for name in options.ours.split(",")}
    for name in options.codecs.split(","):
        size, width, height = CASES[name]
        case = Case(name, size, "cpu", options.batch, options.blocks, options.steps)
        for row in compare(case, waves(width, height, options.frames), options.originals, ways):
            if "error" in row:
                print(f"| {name} | {row['name']} | {row['error']} |", flush=True)
                continue
            values = row["values"]
            cells = [f"{values[column]:.{1 if column.endswith('ms') else 2}f}" for column in COLUMNS]
            head = f"{name} | {row['name']} | {width}x{height} | {values['parameters']}"
            print(f"| {head} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
