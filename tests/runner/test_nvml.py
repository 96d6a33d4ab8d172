"""The GPUs that the user left visible, and their free memory."""

import pytest
from fake_nvml import FakeNvml, Gpu

from rdbench.runner.nvml import VisibleGpu, visible_gpus

GPUS = (Gpu(uuid="GPU-aa", free=1 << 30), Gpu(uuid="GPU-bb", free=2 << 30), Gpu(uuid="GPU-cc", free=None))
FIRST, SECOND, THIRD = (("GPU-aa", 1024.0), ("GPU-bb", 2048.0), ("GPU-cc", None))


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [FIRST, SECOND, THIRD]),
        ("", []),
        ("-1", []),
        ("1", [("1", 2048.0)]),
        ("2,0", [("2", None), ("0", 1024.0)]),
        ("GPU-b", [("GPU-b", 2048.0)]),
        ("1,-1,0", [("1", 2048.0)]),
        ("1,7,0", [("1", 2048.0)]),  # as CUDA does
        ("GPU-x", []),
    ],
)
def test_visible_gpus(visible: str | None, expected: list[tuple[str, float | None]]) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert visible_gpus(FakeNvml(*GPUS), environment) == [VisibleGpu(*values) for values in expected]


def test_where_a_number_may_be_any_of_several_models_the_least_memory_counts() -> None:
    mixed = FakeNvml(Gpu("NVIDIA A", free=1 << 30), Gpu("NVIDIA B", free=2 << 30))
    assert visible_gpus(mixed, {"CUDA_VISIBLE_DEVICES": "1"}) == [VisibleGpu("1", 1024.0)]
    by_slot = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible_gpus(mixed, by_slot) == [VisibleGpu("1", 2048.0)]
