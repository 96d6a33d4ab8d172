"""Energy that the machine consumes while a block runs, from the counters of the GPU (NVML) and of the CPU (RAPL)."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .nvml import find_gpus, open_nvml

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the RAPL counters; most systems let only root read them."""
POLL_SECONDS = 10.0
"""Distance of the readings (our choice): a RAPL counter of 65 kJ wraps around after 160 s at 400 W."""


class Energy:
    """The result of `measure_energy`, complete after the block."""

    def __init__(self) -> None:
        self.joules: float | None = None
        """Sum over the meters; None where a counter that is needed cannot be read."""
        self.meters: tuple[str, ...] = ()
        """What was summed: `nvml` (the whole GPU), `rapl` (all CPU packages, without the memory modules)."""


@contextmanager
def measure_energy(
    device: str, environment: Mapping[str, str] | None = None, powercap: Path = POWERCAP, interval: float = POLL_SECONDS
) -> Iterator[Energy]:
    """Measures the energy until the end of the block, in joules; never raises an error of its own.

    On `cpu`: all CPU packages. On `cuda`: the GPU, plus all CPU packages where they can be read too; without the
    GPU's counter there is no result. The counters belong to the whole GPU and the whole CPU: what runs beside the
    block is included. `environment` has the variables of the process that uses the GPU (CUDA_VISIBLE_DEVICES; default:
    this process's); `interval` is the distance of the readings in seconds.
    """
    energy = Energy()
    with open_nvml() as nvml:
        meters = {"rapl": _Meter(_rapl_counters(powercap))}
        if device != "cpu":
            meters["nvml"] = _Meter(_gpu_counters(nvml, device, environment))
        stop = threading.Event()
        thread = threading.Thread(target=_poll, args=(list(meters.values()), stop, interval), daemon=True)
        thread.start()
        try:
            yield energy
        finally:
            stop.set()
            thread.join()
            _sum(energy, {name: meter.read() for name, meter in meters.items()})


@dataclass(frozen=True)
class _Counter:
    read: Callable[[], float | None]
    """The counter in joules; None where it cannot be read."""
    wraps_at: float | None = None
    """The joules at which it begins at 0 again."""


class _Meter:
    """Adds up counters from reading to reading; one that fails once leaves the meter without a result."""

    def __init__(self, counters: list[_Counter]) -> None:
        self._counters = counters
        self._last = [counter.read() for counter in counters]
        self._joules: float | None = 0.0 if counters else None

    def read(self) -> float | None:
        """The joules since the meter was made, up to now."""
        for index, counter in enumerate(self._counters):
            before, now = self._last[index], counter.read()
            if self._joules is None or before is None or now is None:
                self._joules = None
                break
            if now < before and counter.wraps_at is None:
                self._joules = None
                break
            self._joules += now - before + (counter.wraps_at or 0.0 if now < before else 0.0)
            self._last[index] = now
        return self._joules


def _poll(meters: list[_Meter], stop: threading.Event, interval: float) -> None:
    while not stop.wait(interval):
        for meter in meters:
            meter.read()


def _sum(energy: Energy, joules: Mapping[str, float | None]) -> None:
    known = {name: value for name, value in joules.items() if value is not None}
    if known and not ("nvml" in joules and "nvml" not in known):
        energy.joules, energy.meters = sum(known.values()), tuple(sorted(known))


def _rapl_counters(powercap: Path) -> list[_Counter]:
    """A counter for each CPU package; its parts (cores, graphics) and the platform's zone are left out."""
    zones = [path for path in sorted(powercap.glob("intel-rapl:*")) if re.fullmatch(r"intel-rapl:\d+", path.name)]
    return [_rapl_counter(zone) for zone in zones if (_read_text(zone / "name") or "").startswith("package")]


def _rapl_counter(zone: Path) -> _Counter:
    wraps_at = _read_microjoules(zone / "max_energy_range_uj")
    return _Counter(lambda: _read_microjoules(zone / "energy_uj"), wraps_at)


def _read_microjoules(path: Path) -> float | None:
    text = _read_text(path)
    return int(text) / 1e6 if text is not None and text.isdecimal() else None


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _gpu_counters(nvml: Any, device: str, environment: Mapping[str, str] | None) -> list[_Counter]:
    """The counter of the GPU; none where it is not certain which one is used."""
    if nvml is None:
        return []
    try:
        gpus = find_gpus(nvml, device, environment)
    except nvml.NVMLError:
        return []
    return [_gpu_counter(nvml, gpu) for gpu in gpus] if len(gpus) == 1 else []


def _gpu_counter(nvml: Any, gpu: Any) -> _Counter:
    def read() -> float | None:
        try:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)) / 1e3
        except nvml.NVMLError:
            return None

    return _Counter(read)
