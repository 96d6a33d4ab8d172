"""A stand-in for `pynvml` with GPUs whose names, energy and processes a test sets."""

from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace


@dataclass
class Gpu:
    """A GPU; `energy` in millijoules, None where its counter cannot be read; `processes`: number -> bytes."""

    name: str = "NVIDIA A"
    uuid: str = "GPU-0"
    energy: int | None = 0
    processes: dict[int, int | None] = field(default_factory=dict)
    graphics: dict[int, int | None] = field(default_factory=dict)
    free: int | None = 80 << 30
    """Bytes of free memory; None where the driver does not say."""


class FakeNvml(ModuleType):
    """The functions of `pynvml` that rdbench calls; a GPU is its own handle."""

    class NVMLError(Exception):
        """The base of all errors of NVML."""

    def __init__(self, *gpus: Gpu, driver: str | None = "570.86.15") -> None:
        super().__init__("pynvml")
        self.gpus, self.driver, self.open = gpus, driver, 0

    def nvmlInit(self) -> None:
        """Fails without a driver."""
        if self.driver is None:
            raise self.NVMLError("driver not loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return str(self.driver)

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu: Gpu) -> bytes:
        return gpu.name.encode()

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> str:
        return gpu.uuid

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu) -> SimpleNamespace:
        if gpu.free is None:
            raise self.NVMLError("not supported")
        return SimpleNamespace(free=gpu.free)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: Gpu) -> int:
        if gpu.energy is None:
            raise self.NVMLError("not supported")
        return gpu.energy

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: Gpu) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in gpu.processes.items()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: Gpu) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in gpu.graphics.items()]
