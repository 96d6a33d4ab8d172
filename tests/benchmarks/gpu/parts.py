"""The parts of the kit: what each does, at full and at toy size, and how much of the time it may take."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from environment import ROOT
from ledger import DIFFERS, FAILED, OK, SKIPPED, Row
from processes import Case, Place, run_cases, run_command

CODECS = (
    "hinerv", "nerv", "hnerv", "nvrc", "tenerv", "ffnerv", "hnerv-boost", "tnerv", "enerv", "nervpp", "dnerv", "cnerv",
    "psnerv", "canerv",
)  # fmt: skip
"""Every INR codec, those first that most depends on."""
BY_PIECES = ("nirvana", "c3")
"""INR codecs that code a clip piece by piece, each piece with a training of its own."""
SCHEMES = (
    "nvrc[grids=context]", "nvrc[grids=gaussian,layers=gaussian]", "hnerv[compression=nvrc]",
    "hnerv[compression=entropy-constrained]", "nerv[entropy=huffman]", "tenerv[gops=2]",
)  # fmt: skip
"""Compressions and entropy coders that are nobody's default."""
BASE = {"precision": "bfloat16", "optimizer": "paper"}
CHOICES = (BASE, {**BASE, "precision": "float32"}, {**BASE, "optimizer": "muon"},
           {"precision": "float32", "optimizer": "muon"})  # fmt: skip
"""Precisions and optimizers in which steps are timed."""
WHOLE_TEST_FILES = (
    "tests/codecs/inr/training/test_waiting.py", "tests/codecs/inr/training/test_precision.py",
    "tests/measure/test_torch_scorer.py", "tests/runner/test_seal.py",
)  # fmt: skip
"""Tests that are worth running on such a machine although they need no GPU."""
UNPRUNED = "prune=0,finetune_epochs=0"
TRAININGS: Sequence[tuple[str, str, str, str, float | None]] = (
    ("NeRV-S, 300 epochs", f"nerv[epochs=300,{UNPRUNED}]", "3.2M", "bunny", 32.21),
    ("HNeRV 1.5M, 300 epochs", f"hnerv[epochs=300,{UNPRUNED}]", "1.5M", "bunny@1280x640", 35.57),
    ("HiNeRV XXS", "hinerv", "767K", "bunny", None),
    ("NVRC", "nvrc", "750K-lambda4", "bunny", None),
    ("TeNeRV", "tenerv", "750K", "bunny", None),
)
"""Name, codec, rate point, clip, and the published PSNR in dB where the papers print one (NeRV's table 3, HNeRV's table
2; both of weights that are not quantized, so 0.1 dB less is the same)."""
ORIGINAL_SIZES: Sequence[tuple[int, int, str, Sequence[str]]] = (
    (1280, 720, "1.5M", ("nerv", "hnerv", "hinerv")), (1920, 1080, "3M", ("nerv", "hnerv", "hinerv")),
    (1280, 720, "1.5M", ("ffnerv", "enerv", "hnerv-boost")), (1280, 640, "1.5M", ("dnerv",)),
    (160, 90, "40K", ("nerv",)),
)  # fmt: skip
"""Width, height, size, and the codecs whose authors' steps are timed there; the last is the rehearsal's."""
UVG_CODECS = "nerv,hnerv,hinerv,nvrc,tenerv,x265"


@dataclass(frozen=True)
class Plan:
    """What was asked for: the device, toy or full size, minutes, threads, trainings by name, and where UVG is."""

    device: str
    toy: bool
    minutes: float
    threads: int
    trainings: Sequence[str]
    data_root: str | None
    originals: str | None

    def limit(self, seconds: float) -> float:
        """A part's share of the nine minutes for which the limits are written, in proportion where there is more."""
        return seconds * max(1.0, self.minutes / 9)


def machine(place: Place, plan: Plan) -> None:
    """The GPU, its driver, torch, peaks."""
    if plan.device.startswith("cuda"):
        output = place.scratch / "nvidia-smi.txt"
        done = run_command(place, ["nvidia-smi"], 30, output)
        place.ledger.add(Row("machine", "nvidia-smi", done.status, done.seconds, {}, done.error))
    run_cases(place, "machine", [Case("torch", "describe", 60, {"device": plan.device})], 90)


def tests(place: Place, plan: Plan) -> None:
    """The tests marked `cuda`, then whole files that concern a GPU."""
    chosen = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if "mark.cuda" in path.read_text())
    whole = [ROOT / name for name in WHOLE_TEST_FILES]
    if plan.toy:
        chosen, whole = [ROOT / "tests/measure/test_torch_scorer.py"], [ROOT / "tests/runner/test_seal.py"]
    _pytest(place, plan, "marked_cuda", "cuda", chosen, 130)
    _pytest(place, plan, "files_for_a_gpu", "not cuda and not slow", whole, 60)


def _pytest(place: Place, plan: Plan, name: str, marks: str, files: Sequence[Path], limit: float) -> None:
    """A row with the counts, and one for each failure."""
    report, output = place.scratch / f"{name}.xml", place.ledger.folder / f"{name}.txt"
    workers = 0 if plan.toy else max(1, plan.threads // 2)
    command = [
        sys.executable, "-m", "pytest", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "-m", marks,
        "-n", str(workers), "-p", "no:cacheprovider", "--tb=short", "--timeout=60",
        f"--junitxml={report}", *map(str, files),
    ]  # fmt: skip
    done = run_command(place, command, plan.limit(limit), output)
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    wrong = [(case, found) for case in cases for found in case if found.tag in ("failure", "error")]
    skipped = sum(case.find("skipped") is not None for case in cases)
    counts = {"tests": len(cases), "passed": len(cases) - skipped - len(wrong), "skipped": skipped}
    place.ledger.add(Row("tests", name, done.status, done.seconds, {**counts, "failed": len(wrong)}, done.error[-200:]))
    for case, found in wrong:
        label = f"{case.get('classname')}::{case.get('name')}"
        place.ledger.add(Row("tests", label, FAILED, error=(found.get("message") or "")[:300]))


def agreement(place: Place, plan: Plan) -> None:
    """Symbols and frames, GPU against CPU, of every codec and scheme."""
    toy = ("nerv", "nvrc[grids=context,epochs=2,finetune_epochs=1]", "nirvana")
    specs = toy if plan.toy else (*CODECS, *SCHEMES, *BY_PIECES)
    size, small = "8K" if plan.toy else "20K", {"width": 64, "height": 48, "frames": 4}
    shape = {"width": 48, "height": 32, "frames": 2} if plan.toy else {"width": 161, "height": 91, "frames": 6}
    shapes = {spec: small if spec in BY_PIECES else shape for spec in specs}
    cases = [
        Case(spec, "agree", 60, {"spec": spec, "device": plan.device, "size": size, **shapes[spec]}) for spec in specs
    ]
    run_cases(place, "agreement", cases, plan.limit(130))


def x265(place: Place, plan: Plan) -> None:
    """The anchor on the clip of the trainings, on the CPU."""
    points = "crf37" if plan.toy else "crf22,crf27,crf32,crf37"
    size = ["--dataset", "bunny@160x90", "--frames", "4"] if plan.toy else ["--dataset", "bunny"]
    _run(place, plan, "x265", ["--codecs", "x265", *size, "--rate-points", points], "cpu", 120)


def seal(place: Place, plan: Plan) -> None:
    """A run as a user starts it: does CUDA work in the sealed decoder, is energy counted, how much memory was used."""
    codecs = "nerv" if plan.toy else "nerv,nvrc"
    size = ["--dataset", "bunny@160x90", "--frames", "4", "--rate-points", "20K"]
    _run(place, plan, "seal", ["--codecs", codecs, "--preset", "tiny", *size], plan.device, 90)


def _run(place: Place, plan: Plan, part: str, options: Sequence[str], device: str, limit: float) -> None:
    """`rdbench run`, and a row for each record."""
    out = place.scratch / part
    command = [
        sys.executable, "-m", "rdbench.cli", "run", *options, "--device", device, "--threads", str(plan.threads),
        "--out", str(out),
    ]  # fmt: skip
    done = run_command(place, command, plan.limit(limit), place.scratch / f"{part}.txt")
    place.ledger.add(Row(part, "rdbench run", done.status, done.seconds, {}, done.error))
    for path in sorted(out.rglob("record.json")):
        record = json.loads(path.read_text())
        name = f"{record['codec']} {record['sequence']} {record['rate_point']}"
        place.ledger.add(Row(part, name, record["status"], 0.0, _chosen(record), record["error"] or ""))


def _chosen(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the tables show of a record."""
    names = ("psnr_rgb", "ms_ssim", "bpp", "encode_seconds", "decode_fps", "render_fps", "peak_memory_mb",
             "energy_joules", "device", "precision", "gpu")  # fmt: skip
    return {**{name: record.get(name) for name in names}, "seal": " ".join(record.get("seal") or ())}


def speed(place: Place, plan: Plan) -> None:
    """Steps and decoded frames a second of every codec, at 1280x720 and then at 1920x1080.

    First all in the default precision with the paper's optimizer, operation by operation; then as CUDA graphs and
    compiled; then float32 and Muon: for as long as there is time.
    """
    sizes = [(96, 84, "8K")] if plan.toy else [(1280, 720, "1.5M"), (1920, 1080, "3M")]
    codecs = ("nerv", "nvrc") if plan.toy else CODECS
    common = {"frames": 2 if plan.toy else 16, "steps": 1 if plan.toy else 10, "device": plan.device}
    common |= {"preset": "tiny", "backend": "eager"} if plan.toy else {"preset": "paper", "backend": "inductor"}
    rounds: Sequence[tuple[str, Sequence[Mapping[str, str]], Sequence[str]]] = (
        ("eager", CHOICES[:1], codecs), ("graphed", CHOICES[:1], codecs),
        ("compiled", CHOICES[:1], codecs[:1] if plan.toy else codecs), ("eager", CHOICES[1:], codecs),
    )  # fmt: skip
    cases = [
        Case(f"{codec} {size} {width}x{height}", "time_codec", 120 if mode == "compiled" else 60, {
            **common, "spec": codec, "size": size, "width": width, "height": height, "mode": mode,
            "choices": choices, "decode": mode == "eager" and choices[0] == BASE,
        })
        for mode, choices, names in rounds for width, height, size in sizes for codec in names
    ]  # fmt: skip
    run_cases(place, "speed", cases, plan.limit(190))


def originals(place: Place, plan: Plan) -> None:
    """Our step beside the one of the authors' program, for the same network; only with their repositories at hand.

    The first codecs are those that most depends on; each at 1280x720 and then at 1920x1080, where its strides fit.
    """
    if plan.originals is None:
        reason = "--originals names no folder of the authors' repositories."
        place.ledger.add(Row("originals", "steps beside the authors'", SKIPPED, error=reason))
        return
    sizes = ORIGINAL_SIZES[-1:] if plan.toy else ORIGINAL_SIZES[:-1]
    common = {"device": plan.device, "originals": plan.originals, "frames": 2 if plan.toy else 16}
    common |= {"blocks": 1, "steps": 1} if plan.toy else {"blocks": 7, "steps": 3}
    cases = [
        Case(f"{codec} {size} {width}x{height}", "time_original", 60, {
            **common, "codec": codec, "size": size, "width": width, "height": height,
        })
        for width, height, size, names in sizes for codec in names
    ]  # fmt: skip
    run_cases(place, "originals", cases, plan.limit(120))


def blocks(place: Place, plan: Plan) -> None:
    """The fused block against the plain layers and torch.compile, shape by shape."""
    case = Case("forward and backward", "time_blocks", 80, {"device": plan.device, "toy": plan.toy})
    run_cases(place, "blocks", [case], plan.limit(80))


def metrics(place: Place, plan: Plan) -> None:
    """PSNR and MS-SSIM on the GPU against NumPy."""
    width, height, frames = (200, 176, 2) if plan.toy else (1920, 1080, 8)
    size = {"device": plan.device, "width": width, "height": height, "frames": frames, "rounds": 1 if plan.toy else 5}
    run_cases(place, "metrics", [Case(f"{width}x{height}", "measure", 40, size)], 60)


def entropy(place: Place, plan: Plan) -> None:
    """NVRC's coder of grids at the paper's S2, on the CPU of this machine; left out at toy size."""
    if plan.toy:
        return
    output = place.scratch / "entropy.txt"
    command = [sys.executable, str(ROOT / "tests/benchmarks/nvrc_entropy.py")]
    done = run_command(place, command, plan.limit(60), output)
    values = {"output": "; ".join(output.read_text().splitlines())} if done.status == OK else {}
    place.ledger.add(Row("entropy", "NVRC, grids of S2", done.status, done.seconds, values, done.error))


def published(place: Place, plan: Plan) -> None:
    """Whole trainings beside published numbers, one after the other, in all the time that is left."""
    chosen = [row for row in TRAININGS if not plan.trainings or row[1].partition("[")[0] in plan.trainings]
    common = {"device": plan.device, "threads": plan.threads, "frames": 4 if plan.toy else None}
    cases = []
    for name, spec, point, clip, number in chosen[:1] if plan.toy else chosen:
        if plan.toy:
            spec, point, clip = spec.replace("=300", "=2"), "8K", "bunny@160x90"
        work = {"spec": spec, "point": point, "clip": clip, "published": number, "preset": "paper", **common}
        cases.append(Case(name, "train", place.left(), work))
    run_cases(place, "published", cases, place.left())


def uvg(place: Place, plan: Plan) -> None:
    """The sequences of UVG at the papers' recipes: only in a form of hours, with the data set at hand."""
    if plan.data_root is None:
        return
    options = ["--codecs", UVG_CODECS, "--dataset", "uvg", "--preset", "paper", "--rate-points", "2"]
    _run(place, plan, "uvg", [*options, "--data-root", plan.data_root], plan.device, place.left())


PARTS = {part.__name__: part for part in (
    machine, tests, agreement, x265, seal, speed, originals, blocks, metrics, entropy, published, uvg,
)}  # fmt: skip
GROUPS = (("machine",), ("tests", "agreement", "x265", "seal"), ("speed",), ("originals",), ("blocks",), ("metrics",),
          ("entropy",), ("published",), ("uvg",))  # fmt: skip
"""Parts in their order; those of a group run side by side, because none of them is a measurement of speed.

The trainings are last because they use whatever time is left; all that is short comes before.
"""
PROBLEMS = (DIFFERS, FAILED)
"""Outcomes that a person has to look at."""
