"""What the harness adds to the codec's own time, for each job of a sweep.

`python tests/benchmarks/jobs.py [--before PYTHON] [--codec x265] [--repeats 3]` runs sweeps of one and of three rate
points on 16 frames at 320x180, alternately with the rdbench of another interpreter where one is given, and prints the
medians: the wall time of the commands, the part of it beyond encoding and the timed decodings by job (the difference of
the two sweeps), and what a command takes once (the rest).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

FEW, MANY = 1, 3
"""Rate points of the two sweeps."""


@dataclass(frozen=True)
class Run:
    """One command, in seconds."""

    wall: float
    codec: float
    """Encoding and the timed decodings, by the records."""

    @property
    def beyond(self) -> float:
        """What the harness took."""
        return self.wall - self.codec


def run_sweep(python: str, codec: str, points: int) -> Run:
    """Runs a sweep in an empty folder."""
    with tempfile.TemporaryDirectory() as out:
        what = ["--codecs", codec, "--dataset", "bunny@320x180", "--frames", "16", "--rate-points", str(points)]
        how = ["--preset", "tiny", "--threads", "1", "--out", out]
        command = [python, "-m", "rdbench.cli", "run", *what, *how]
        start = time.perf_counter()
        # elsewhere than in a checkout, which Python would import instead of what is installed
        subprocess.run(command, check=True, capture_output=True, cwd=out)
        wall = time.perf_counter() - start
        records = [json.loads(path.read_text()) for path in Path(out).rglob("record.json")]
    assert len(records) == points
    decodings = sum(record["decode_cold_seconds"] + sum(record["decode_samples"]) for record in records)
    return Run(wall, sum(record["encode_seconds"] for record in records) + decodings)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", help="the interpreter of another rdbench to compare with")
    parser.add_argument("--codec", default="x265")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    pythons = {"now": sys.executable, **({"before": options.before} if options.before else {})}
    runs: dict[tuple[str, int], list[Run]] = {(name, count): [] for name in pythons for count in (FEW, MANY)}
    for _ in range(options.repeats):
        for (name, count), done in runs.items():
            done.append(run_sweep(pythons[name], options.codec, count))
    print(f"{'':<8}{'1 point s':>11}{'3 points s':>12}{'beyond the codec, s/job':>25}{'once a command s':>18}")
    for name in pythons:
        few, many = (statistics.median(run.beyond for run in runs[name, count]) for count in (FEW, MANY))
        walls = [statistics.median(run.wall for run in runs[name, count]) for count in (FEW, MANY)]
        job = (many - few) / (MANY - FEW)
        print(f"{name:<8}{walls[0]:>11.2f}{walls[1]:>12.2f}{job:>25.2f}{few - job:>18.2f}")


if __name__ == "__main__":
    main()
