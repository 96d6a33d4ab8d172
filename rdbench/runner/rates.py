"""How fast this machine trains networks: rates that `rdbench bench fit` measured and keeps, and stated peaks of GPUs.

A rate is in multiply-accumulates of the network in a second, those of the backward pass included.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import platformdirs
from filelock import FileLock

from ..errors import UsageError
from .machine import cpu_model, describe_gpu

MOST_RATES = 500
"""Rates that are kept; the oldest ones go first (our choice)."""
STATED_SHARE = 0.01
"""Share of a GPU's stated peak at which a network is taken to train before anything is measured.

Our choice, and a low one: most layers wait for memory, not for arithmetic.
"""
STATED_PEAKS = {
    "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10": 125e12, "V100": 125e12,
    "T4": 65e12, "RTX 4090": 165e12, "RTX 3090": 71e12,
}  # fmt: skip
"""Operations per second of dense matrix products in 16-bit floating point, as NVIDIA's data sheets state them."""

REFERENCE_GPU = "H100"
"""The GPU whose time a plan for the CPU names beside its own, and of a plan for a GPU where none is here."""
FARTHEST_SIZE = 4
"""Largest ratio of the pixels of two frame sizes, and of the parameters of two networks, for which one rate serves (our
choice): small frames and networks take relatively longer."""
FEWEST_STEPS = 10
"""Steps of each stage from which on a measured rate is kept (our choice): single steps say little."""


@dataclass(frozen=True)
class Rate:
    """A measured rate of a codec's training, on a device, for frames and a network of a size."""

    device: str
    codec: str
    width: int
    height: int
    macs_per_second: float
    size: int = 0
    """Parameters of the rate point; 0 where it names none."""


def rates_path() -> Path:
    """The file of the measured rates; it need not exist."""
    return platformdirs.user_cache_path("rdbench") / "rates.json"


def device_name(device: str, threads: int) -> str:
    """The name under which rates of a device are kept: the GPU's model, or the CPU's with the number of threads."""
    if device == "cpu":
        return f"{cpu_model()}, {threads} thread{'s' * (threads != 1)}"
    return describe_gpu(device)[0] or device


def read_rates(path: Path | None = None) -> list[Rate]:
    """The measured rates, the newest last; none without the file. Raises UsageError for a damaged one."""
    path = path or rates_path()
    try:
        rates = [Rate(**values) for values in json.loads(path.read_text(encoding="utf-8"))["rates"]]
        if not all(_is_plausible(rate) for rate in rates):
            raise ValueError("a value is of the wrong kind")
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"The measured rates in {path} cannot be read ({error}); delete the file.") from error
    return rates


def _is_plausible(rate: Rate) -> bool:
    numbers = (rate.width, rate.height, rate.macs_per_second)
    named = isinstance(rate.device, str) and isinstance(rate.codec, str) and isinstance(rate.size, int)
    return named and all(isinstance(n, int | float) and math.isfinite(n) and n > 0 for n in numbers)


def keep_rate(rate: Rate, path: Path | None = None) -> Path:
    """Keeps a rate in place of an earlier one of the same codec, size, device and frame size; returns the file.

    Raises UsageError where the file cannot be read or written.
    """
    path = path or rates_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            others = [one for one in read_rates(path) if _key(one) != _key(rate)]
            kept = [*others, rate][-MOST_RATES:]
            scratch = path.with_name(f"{path.name}.{uuid4().hex}")
            scratch.write_text(json.dumps({"rates": [asdict(one) for one in kept]}, indent=1), encoding="utf-8")
            scratch.replace(path)
    except OSError as error:
        raise UsageError(
            f"The measured rate cannot be kept in {path} ({error.strerror}); check that folder."
        ) from error
    return path


def _key(rate: Rate) -> tuple[str, str, int, int, int]:
    return rate.device, rate.codec, rate.width, rate.height, rate.size


def find_rate(rates: Sequence[Rate], device: str, codec: str, pixels: int, size: int = 0) -> Rate | None:
    """The rate of this codec on the device of this name, for the nearest frames and network; None without one.

    Frames of a size beyond FARTHEST_SIZE do not count, nor do such networks; `size`: parameters, 0 if unknown.
    """

    def distances(rate: Rate) -> tuple[float, float]:
        networks = abs(math.log(rate.size / size)) if rate.size and size else 0.0
        return abs(math.log(rate.width * rate.height / pixels)), networks

    mine = [rate for rate in rates if (rate.device, rate.codec) == (device, codec)]
    near = [rate for rate in mine if max(distances(rate)) <= math.log(FARTHEST_SIZE)]
    return min(near, key=lambda rate: sum(distances(rate)), default=None)


def stated_rate(device: str) -> float | None:
    """STATED_SHARE of the stated peak of the GPU of this name; None for one that is not in STATED_PEAKS."""
    words = f"{device.replace('-', ' ')} "
    peak = next((peak for name, peak in STATED_PEAKS.items() if f"{name} " in words), None)
    return None if peak is None else STATED_SHARE * peak / 2
