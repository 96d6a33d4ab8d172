"""What the machine is: the GPU, versions, the switches that decide speed, and the peak that shares refer to."""

import platform
import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch

from rdbench.runner.bench import measure_peak
from rdbench.runner.energy import measure_energy

ENERGY_SECONDS = 1.0
"""Long enough for NVML's counter, which changes ten times a second or more."""


@cache
def peak(device: str, precision: str) -> float:
    """Operations per second of a large matrix product."""
    return measure_peak(device, precision)


def synchronize(device: str) -> None:
    """Waits for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def describe(device: str) -> Iterator[Mapping[str, Any]]:
    """Rows: the versions and the switches; the peaks; whether NVML counts energy."""
    yield {
        "name": "versions",
        "values": {"python": platform.python_version(), "torch": torch.__version__, **gpu(device)},
    }
    yield {"name": "switches", "values": {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32, "cudnn.benchmark": torch.backends.cudnn.benchmark,
    }}  # fmt: skip
    speeds = {f"{precision} TFLOP/s": peak(device, precision) / 1e12 for precision in ("float32", "bfloat16")}
    yield {"name": "a large matrix product", "values": speeds}
    with measure_energy(device) as energy:
        a, end = torch.rand(1024, 1024, device=device), time.monotonic() + ENERGY_SECONDS
        while time.monotonic() < end:
            a @ a
            synchronize(device)
    yield {
        "name": "energy of a second of products",
        "values": {"joules": energy.joules, "meters": " ".join(energy.meters)},
    }


def gpu(device: str) -> Mapping[str, Any]:
    """Name, memory and CUDA of a GPU; nothing of a CPU."""
    if not device.startswith("cuda"):
        return {}
    about = torch.cuda.get_device_properties(torch.device(device))
    capability = f"{about.major}.{about.minor}"
    memory = about.total_memory / (1 << 30)
    return {"gpu": about.name, "capability": capability, "memory GiB": memory, "cuda": torch.version.cuda}
