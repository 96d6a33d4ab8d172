"""NVML, the library of NVIDIA's driver that reports on GPUs; used without importing torch."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

Handle = Any
"""NVML's handle of a device."""


@contextmanager
def open_nvml() -> Iterator[Any]:
    """The module `pynvml`, ready for use inside the block; None where there is no NVIDIA driver."""
    import pynvml

    if not _initialized(pynvml):
        yield None
        return
    try:
        yield pynvml
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _initialized(nvml: Any) -> bool:
    try:
        nvml.nvmlInit()
    except (OSError, nvml.NVMLError):
        return False
    return True


def find_gpus(nvml: Any, device: str, environment: Mapping[str, str] | None = None) -> list[Handle]:
    """The GPU that `device` (`cuda`, `cuda:1`) is for a process with these variables (default: this process).

    One handle where this is certain, none where there is no such GPU, and several where it can be any of them: CUDA
    numbers GPUs of different models by their speed, NVML by their slots, unless CUDA_DEVICE_ORDER is PCI_BUS_ID.
    Raises NVMLError.
    """
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        return []
    variables = os.environ if environment is None else environment
    number = int(match[1] or 0)
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    visible = variables.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        entries = _valid_entries(visible)
        if number >= len(entries):
            return []
        if not entries[number].isdecimal():
            return _with_uuid(nvml, handles, entries[number])
        number = int(entries[number])
    if number >= len(handles):
        return []
    by_slot = variables.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    one_model = len({read_name(nvml, handle) for handle in handles}) == 1
    return [handles[number]] if by_slot or one_model else handles


@dataclass(frozen=True)
class VisibleGpu:
    """A GPU that the user left visible."""

    entry: str
    """What CUDA_VISIBLE_DEVICES calls it: a number, or a UUID."""
    free_mb: float | None
    """MiB that nobody uses; None where the driver does not say so."""


def visible_gpus(nvml: Any, environment: Mapping[str, str] | None = None) -> list[VisibleGpu]:
    """The GPUs that a process with these variables (default: this one's) may use, in CUDA's order where it is set.

    Empty without any, or where they cannot be listed.
    """
    variables = os.environ if environment is None else environment
    try:
        count = nvml.nvmlDeviceGetCount()
        if (visible := variables.get("CUDA_VISIBLE_DEVICES")) is None:
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            return [VisibleGpu(_text(nvml.nvmlDeviceGetUUID(gpu)), _free_mb(nvml, [gpu])) for gpu in handles]
    except nvml.NVMLError:
        return []
    found = []
    for number, entry in enumerate(_valid_entries(visible)):
        try:
            handles = find_gpus(nvml, f"cuda:{number}", variables)
        except nvml.NVMLError:
            handles = []
        if not handles:  # CUDA ignores the first entry that names no GPU, and all behind it
            break
        found.append(VisibleGpu(entry, _free_mb(nvml, handles)))
    return found


def _free_mb(nvml: Any, handles: list[Handle]) -> float | None:
    """MiB free on the GPU; the least of several that it may be."""
    try:
        return float(min(nvml.nvmlDeviceGetMemoryInfo(handle).free for handle in handles)) / 2**20
    except nvml.NVMLError:
        return None


def read_name(nvml: Any, handle: Handle) -> str:
    """The model of a GPU, as `NVIDIA H100 80GB HBM3`. Raises NVMLError."""
    return _text(nvml.nvmlDeviceGetName(handle))


def read_driver(nvml: Any) -> str:
    """The driver's version, as `570.86.15`. Raises NVMLError."""
    return _text(nvml.nvmlSystemGetDriverVersion())


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _valid_entries(visible: str) -> list[str]:
    """The entries of CUDA_VISIBLE_DEVICES; CUDA ignores everything from the first negative number on."""
    entries = [entry.strip() for entry in visible.split(",")]
    end = next((index for index, entry in enumerate(entries) if not entry or entry.startswith("-")), len(entries))
    return entries[:end]


def _with_uuid(nvml: Any, handles: list[Handle], prefix: str) -> list[Handle]:
    """The GPU whose UUID begins like this, as CUDA permits; a part of a GPU (MIG) by its whole UUID."""
    if prefix.startswith("MIG-"):
        return [nvml.nvmlDeviceGetHandleByUUID(prefix)]
    found = [handle for handle in handles if _text(nvml.nvmlDeviceGetUUID(handle)).startswith(prefix)]
    return found if len(found) == 1 else []
