"""Energy from counters: CPU packages below a folder that is like /sys/class/powercap, GPUs of a stand-in for NVML."""

import sys
import time
from pathlib import Path

import pytest
from fake_nvml import FakeNvml, Gpu

from rdbench.runner.energy import measure_energy


def set_zone(root: Path, zone: str, name: str, microjoules: int, wraps_at: int = 262_143_328_850) -> None:
    """A RAPL zone as Linux shows it."""
    folder = root / zone
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "scratch").write_text(f"{microjoules}\n")
    (folder / "scratch").replace(folder / "energy_uj")  # never half written while it is read
    (folder / "max_energy_range_uj").write_text(f"{wraps_at}\n")


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=None))


@pytest.mark.usefixtures("no_driver")
def test_all_packages_are_summed_and_nothing_twice(tmp_path: Path) -> None:
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1"), ("intel-rapl:2", "psys"),
                       ("intel-rapl:0:0", "core"), ("intel-rapl-mmio:0", "package-0")):  # fmt: skip
        set_zone(tmp_path, zone, name, 1_000_000)
    with measure_energy("cpu", powercap=tmp_path) as energy:
        set_zone(tmp_path, "intel-rapl:0", "package-0", 3_500_000)
        set_zone(tmp_path, "intel-rapl:1", "package-1", 1_250_000)
        for zone, name in (("intel-rapl:2", "psys"), ("intel-rapl:0:0", "core"), ("intel-rapl-mmio:0", "package-0")):
            set_zone(tmp_path, zone, name, 90_000_000)
    assert energy.joules == pytest.approx(2.5 + 0.25)
    assert energy.meters == ("rapl",)


@pytest.mark.usefixtures("no_driver")
def test_a_counter_that_wraps_around_several_times(tmp_path: Path) -> None:
    """100 J is the most that this counter holds; 40 J eight times wrap it around three times."""
    total = 10_000_000
    set_zone(tmp_path, "intel-rapl:0", "package-0", total, 100_000_000)
    with measure_energy("cpu", powercap=tmp_path, interval=0.01) as energy:
        for _ in range(8):
            total += 40_000_000
            set_zone(tmp_path, "intel-rapl:0", "package-0", total % 100_000_000, 100_000_000)
            time.sleep(0.1)
    assert energy.joules == pytest.approx(320)


@pytest.mark.usefixtures("no_driver")
def test_no_counter_no_joules(tmp_path: Path) -> None:
    with measure_energy("cpu", powercap=tmp_path / "none") as energy:
        pass
    assert (energy.joules, energy.meters) == (None, ())
    set_zone(tmp_path, "intel-rapl:0", "package-0", 5)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()  # as unreadable as one of another user
    with measure_energy("cpu", powercap=tmp_path) as energy:
        pass
    assert energy.joules is None


@pytest.mark.usefixtures("no_driver")
def test_a_counter_that_disappears_leaves_no_joules(tmp_path: Path) -> None:
    set_zone(tmp_path, "intel-rapl:0", "package-0", 5)
    set_zone(tmp_path, "intel-rapl:1", "package-1", 5)
    with measure_energy("cpu", powercap=tmp_path) as energy:
        (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert energy.joules is None


def test_gpu_and_packages_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu = Gpu(energy=7_000)
    nvml = FakeNvml(gpu)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    set_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with measure_energy("cuda", {}, tmp_path) as energy:
        gpu.energy = 19_500
        set_zone(tmp_path, "intel-rapl:0", "package-0", 2_000_000)
    assert energy.joules == pytest.approx(12.5 + 2)
    assert energy.meters == ("nvml", "rapl")
    with measure_energy("cuda", {}, tmp_path / "none") as energy:
        gpu.energy = 20_000
    assert energy.joules == pytest.approx(0.5)
    assert energy.meters == ("nvml",)
    with measure_energy("cpu", {}, tmp_path) as energy:
        gpu.energy = 90_000
        set_zone(tmp_path, "intel-rapl:0", "package-0", 3_000_000)
    assert (energy.joules, energy.meters) == (pytest.approx(1), ("rapl",))
    assert nvml.open == 0


def test_a_gpu_that_cannot_say_has_no_joules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The packages alone must not pass for the energy of work on the GPU."""
    set_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    for nvml in (FakeNvml(Gpu(energy=None)), FakeNvml(), FakeNvml(driver=None)):
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        with measure_energy("cuda", {}, tmp_path) as energy:
            set_zone(tmp_path, "intel-rapl:0", "package-0", 2_000_000)
        assert (energy.joules, energy.meters) == (None, ())


@pytest.mark.parametrize(
    ("device", "variables", "used"),
    [
        ("cuda", {}, 0),
        ("cuda:1", {}, 1),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "2"}, 2),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "2, 0"}, 0),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "GPU-1b"}, 1),
        ("cuda", {"CUDA_VISIBLE_DEVICES": ""}, None),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "-1,0"}, None),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "0"}, None),
        ("cuda:3", {}, None),
        ("mps", {}, None),
    ],
)
def test_the_gpu_that_the_process_sees(
    device: str, variables: dict[str, str], used: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus = [Gpu(uuid=f"GPU-{index}{'abc'[index]}") for index in range(3)]
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*gpus))
    with measure_energy(device, variables, tmp_path) as energy:
        for index, gpu in enumerate(gpus):
            gpu.energy = 1_000 * 10**index
    assert energy.joules == (None if used is None else 10**used)


def test_cuda_may_number_different_models_in_another_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow, fast = Gpu("NVIDIA slow"), Gpu("NVIDIA fast")
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(slow, fast))
    with measure_energy("cuda", {}, tmp_path) as energy:
        pass
    assert energy.joules is None
    with measure_energy("cuda", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, tmp_path) as energy:
        slow.energy, fast.energy = 1_000, 5_000
    assert energy.joules == 1


@pytest.mark.usefixtures("no_driver")
def test_an_error_inside_passes_through(tmp_path: Path) -> None:
    set_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    kept = []

    def fail() -> None:
        with measure_energy("cpu", powercap=tmp_path) as energy:
            kept.append(energy)
            set_zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert kept[0].joules == 1
