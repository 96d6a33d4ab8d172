"""Time of `rdbench results`, `bdrate`, `plot` and `report` on 10,000 records, before and after a change.

    python tests/benchmarks/records.py --before /path/to/old/python [--runs 5] [--records 10000]

`--before` is the interpreter of an environment that has an older rdbench; without it only this one is timed. Whole
commands are timed, from the start of Python to its end, as wall time and as CPU time of the process and its children.
Both run in turn on the same generated folders, and the medians are printed.
"""

import argparse
import hashlib
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHAPES: dict[str, tuple[int, int, int, int]] = {
    "20 codecs, 10 sequences, 10 points, 5 seeds": (20, 10, 10, 5),
    "100 codecs, 10 sequences, 10 points, 1 seed": (100, 10, 10, 1),
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "results": ("results", "{folder}"),
    "results --format csv": ("results", "{folder}", "--format", "csv"),
    "bdrate": ("bdrate", "{folder}", "--anchor", "codec00"),
    "bdrate --per-sequence": ("bdrate", "{folder}", "--anchor", "codec00", "--per-sequence"),
    "plot .png": ("plot", "{folder}", "-o", "{scratch}/rd.png"),
    "plot .pdf --per-sequence": ("plot", "{folder}", "-o", "{scratch}/rd.pdf", "--per-sequence"),
    "report --frames 0": ("report", "{folder}", "-o", "{scratch}/page.html", "--frames", "0"),
}


@dataclass(frozen=True)
class Place:
    """What one record is of."""

    codec: int
    sequence: int
    point: int
    seed: int


def record(place: Place, points: int, noise: random.Random) -> dict[str, Any]:
    """A record as `rdbench run` writes it, with its curve near a straight line over the logarithm of the rate."""
    codec, sequence, label = f"codec{place.codec:02d}", f"sequence{place.sequence}", f"qp{22 + 2 * place.point}"
    clip = hashlib.sha256(sequence.encode()).hexdigest()
    identity = {
        "codec": codec, "version": f"{codec} 1.{place.codec} (5a6b7c8d)", "clip": clip, "frames": 120,
        "settings": {"preset": "medium", "tune": "psnr", "keyint": None, "extra": "", "depth": place.codec},
        "conditions": "rgb601/e91876b1", "seed": place.seed, "device": "cpu", "precision": "float32", "threads": 1,
        "point": {"qp": label},
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    bpp = 1.2 * 0.66 ** (place.point * 10 / points) * (1 + 0.01 * place.codec) * (1 + 0.2 * place.sequence)
    quality = 38 + 1.5 * math.log2(bpp) - 0.2 * place.sequence + 0.05 * place.codec + noise.gauss(0, 0.05)
    bits = round(bpp * 1920 * 1080 * 120)
    return {
        "codec": codec, "dataset": "uvg", "sequence": sequence, "rate_point": label, "preset": "quick",
        "settings": {**identity["settings"], "qp": label, "encoder_command": f"encoder --qp {label} -o {digest}.bin"},
        "conditions": "rgb601/e91876b1", "width": 1920, "height": 1080, "frames": 120, "frame_rate": 120.0,
        "bit_depth": 8, "bits": bits, "bpp": bits / (1920 * 1080 * 120), "kbps": bits / 1000,
        **{name: quality + 0.1 * n for n, name in enumerate(("psnr_rgb", "psnr_y", "psnr_u", "psnr_v", "psnr_yuv"))},
        "ms_ssim": 1 - 10 ** (-quality / 20), "ms_ssim_db": quality / 2, "vmaf": None,
        "encode_seconds": 100 * bpp + noise.random(), "encode_fps": 1.2, "decode_seconds": 1 + noise.random(),
        "decode_fps": 60.0 + noise.random(), "render_fps": None, "parameters": bits // 6, "kmacs_per_pixel": 8.5,
        "peak_memory_mb": 812.5, "energy_joules": None, "seed": place.seed, "device": "cpu", "threads": 1,
        "host": "node x86_64 Linux", "cpu": "a processor", "gpu": None,
        "started": f"2026-01-{1 + place.sequence:02d}T10:{place.point:02d}:00+00:00",
        "versions": {"codec": identity["version"], "python": "3.11.7", "rdbench": "0.1.0", "numpy": "2.4.6"},
        "command": f"rdbench run --codecs {codec} --dataset uvg --seeds 0,1,2,3,4", "clip_sha256": clip,
        "bitstream_sha256": hashlib.sha256(digest.encode()).hexdigest(), "status": "ok", "error": None,
        "id": digest[:12], "first_frame_seconds": 0.02, "seek_seconds": 0.03, "lossless_frames": 0,
        "ledger": {"header": 41, "weights": bits // 10, "embeddings": bits // 40, "container": 30},
        "parts": {"fit": 90.5, "compress": 2.25, "entropy_decode": 0.5}, "schema": 2, "identity": identity,
        "frames_sha256": clip, "cpu_cores": 16, "gpu_driver": None, "jobs": 1, "load": 1.16,
        "decode_samples": [noise.random() for _ in range(5)], "decode_cold_seconds": 1.25, "energy_stages": {},
        "seal": ["environment", "network", "files"],
    }  # fmt: skip


def write_records(folder: Path, shape: tuple[int, int, int, int], most: int) -> int:
    """Writes up to `most` records of the shape (codecs, sequences, points, seeds), and returns how many."""
    codecs, sequences, points, seeds = shape
    noise, count = random.Random(0), 0
    for codec in range(codecs):
        for place in (
            Place(codec, s, p, seed) for s in range(sequences) for p in range(points) for seed in range(seeds)
        ):
            if count == most:
                return count
            values = record(place, points, noise)
            name = f"{values['rate_point']}-{values['id']}"
            home = folder / "runs" / values["codec"] / "uvg" / values["sequence"] / name
            home.mkdir(parents=True)
            (home / "record.json").write_text(json.dumps(values, indent=1))
            count += 1
    return count


COMMAND = "from rdbench.cli import main; main()"


def timed(python: str, arguments: Sequence[str], code: str = COMMAND) -> tuple[float, float]:
    """Wall and CPU seconds of one command. Raises CalledProcessError where it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [python, "-P", "-c", code, *arguments]  # -P: rdbench of the environment, not of this folder
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(pythons: Mapping[str, str], arguments: Sequence[str], runs: int) -> dict[str, tuple[float, float]]:
    """Median wall and CPU seconds of each interpreter, which run the command in turn; one run warms the file cache."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in pythons}
    for python in pythons.values():
        timed(python, arguments)
    for _ in range(runs):
        for name, python in pythons.items():
            taken[name].append(timed(python, arguments))
    return {
        name: (statistics.median(wall for wall, _ in pairs), statistics.median(cpu for _, cpu in pairs))
        for name, pairs in taken.items()
    }


def row(name: str, found: Mapping[str, tuple[float, float]]) -> str:
    """One line of the table: wall and CPU seconds before and after, and the ratio of the CPU seconds."""
    wall, cpu = found["after"]
    if "before" not in found:
        return f"{name:<28} {'':>15} {wall:7.2f} {cpu:7.2f}"
    old_wall, old_cpu = found["before"]
    return f"{name:<28} {old_wall:7.2f} {old_cpu:7.2f} {wall:7.2f} {cpu:7.2f} {old_cpu / cpu:7.1f}"


def main() -> None:
    """Prints a table for each shape of the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="the Python of an environment with an older rdbench")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--records", type=int, default=10_000)
    given = parser.parse_args()
    pythons = {**({"before": given.before} if given.before else {}), "after": sys.executable}
    for title, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "results"
            count = write_records(folder, shape, given.records)
            print(f"\n{count} records ({title}); seconds, medians of {given.runs}")
            print(f"{'command':<28} {'before':>15} {'after':>15}\n{'':<28}" + f"{'wall':>8}{'CPU':>8}" * 2 + "   ratio")
            for name, words in COMMANDS.items():
                arguments = [word.format(folder=folder, scratch=scratch) for word in words]
                print(row(name, compare(pythons, arguments, given.runs)), flush=True)


if __name__ == "__main__":
    main()
