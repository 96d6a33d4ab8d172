"""The default number of jobs: one per GPU that is visible and used."""

import sys

import pytest
import torch
from fake_nvml import FakeNvml, Gpu

from rdbench.runner.devices import default_jobs
from rdbench.runner.options import SweepOptions


@pytest.mark.parametrize(
    ("codecs", "device", "visible", "expected"),
    [
        ("nerv", "auto", None, 3),
        ("x264,nerv", "cuda", "2,0", 2),
        ("nerv", "auto", "", 1),
        ("nerv", "cuda:1", None, 1),
        ("nerv", "cpu", None, 1),
        ("x264,x265[preset=medium]", "auto", None, 1),
        (None, "auto", None, 1),
    ],
)
def test_one_job_per_visible_gpu_where_a_codec_uses_one(
    monkeypatch: pytest.MonkeyPatch, codecs: str | None, device: str, visible: str | None, expected: int
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*(Gpu(uuid=f"GPU-{i}") for i in range(3))))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert default_jobs(codecs, device) == expected
    assert SweepOptions(codecs=codecs, device=device).run_options().jobs == expected
    assert SweepOptions(codecs=codecs, device=device, jobs=7).run_options().jobs == 7


def test_one_job_without_a_driver_or_without_cuda_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for nvml in (FakeNvml(driver=None), FakeNvml(Gpu(), Gpu(uuid="GPU-1"))):
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        assert default_jobs("nerv", "auto") == 1
