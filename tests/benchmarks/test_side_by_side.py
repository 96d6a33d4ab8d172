"""Our step beside an original's: of a made-up repository with the interface of NeRV's, whose network is ours."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parent
MODEL = """
from math import prod
import torchvision.transforms as transforms
from torch import nn

class Generator(nn.Module):
    def __init__(self, embed_length, stem_dim_num, fc_hw_dim, stride_list, lower_width, **rest):
        super().__init__()
        self.shape = [int(number) for number in fc_hw_dim.split("_")]
        rows, columns, width = self.shape
        hidden = int(stem_dim_num.split("_")[0])
        self.stem = nn.Sequential(nn.Linear(embed_length, hidden), nn.Linear(hidden, prod(self.shape)))
        self.blocks = nn.Sequential()
        for number, stride in enumerate(stride_list):
            after = max(width // 2, lower_width) if number else width
            self.blocks += nn.Sequential(nn.Conv2d(width, after * stride ** 2, 3, 1, 1), nn.PixelShuffle(stride))
            width = after
        self.head = nn.Conv2d(width, 3, 1)
        self.never_used = nn.Linear(3, 3)

    def forward(self, codes):
        rows, columns, width = self.shape
        return [self.head(self.blocks(self.stem(codes).view(-1, width, rows, columns)))]
"""
UTILS = """
import torch
from torch.nn import functional

class PositionalEncoding:
    def __init__(self, text):
        self.count = int(text.split("_")[1])

    def __call__(self, times):
        return torch.ones(len(times), 2 * self.count) * times[:, None]

def loss_fn(output, target, args):
    assert args.loss_type == "Fusion6"
    return functional.mse_loss(output, target)

def psnr_fn(outputs, targets):
    return [loss for loss in map(functional.mse_loss, outputs, targets)]

msssim_fn = psnr_fn
"""


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    """The modules `side_by_side` and `clips`, which import each other by their plain names."""
    for folder in (FOLDER, FOLDER / "gpu"):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("side_by_side"), importlib.import_module("clips")
    for name in ("side_by_side", "originals", "clips"):
        sys.modules.pop(name, None)


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    (tmp_path / "NeRV").mkdir()
    (tmp_path / "NeRV" / "model_nerv.py").write_text(MODEL)
    (tmp_path / "NeRV" / "utils.py").write_text(UTILS)
    return tmp_path


def rows_of(
    benchmark: tuple[ModuleType, ModuleType], repositories: Path, width: int = 160, codec: str = "nerv", **options: Any
) -> list[dict[str, Any]]:
    side_by_side, clips = benchmark
    case = side_by_side.Case(codec, "30K", "cpu", blocks=1, steps=1, warmup=1)
    return list(side_by_side.compare(case, clips.waves(width, 90, 3), repositories, options or {"float32": {}}))


def test_both_train_the_same_network_in_turns(
    benchmark: tuple[ModuleType, ModuleType], repositories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "utils", ModuleType("utils"))
    before = dict(sys.modules)
    rows = rows_of(benchmark, repositories, plain={}, graphs={"compile": "graphs"}, wrong={"compile": "never"})
    assert [row["name"] for row in rows] == ["plain", "graphs", "wrong"]
    assert "never" in rows[2]["error"]
    for row in rows[:2]:
        values = row["values"]
        assert 28_000 < values["parameters"] < 32_000
        assert values["ours / original"] == pytest.approx(values["ours, ms"] / values["original, ms"])
        assert 0 < values["ours / original with metrics"] < values["ours / original"]
    assert sys.modules["utils"] is before["utils"]
    assert not {"model_nerv", "torchvision", "timm"} & (sys.modules.keys() - before.keys())


def test_networks_of_other_sizes_are_not_compared(benchmark: tuple[ModuleType, ModuleType], repositories: Path) -> None:
    model = repositories / "NeRV" / "model_nerv.py"
    model.write_text(
        MODEL.replace("self.head = nn.Conv2d(width, 3, 1)", "self.head = nn.Conv2d(width, 3, 1, bias=False)")
    )
    with pytest.raises(ValueError, match="trained parameters"):
        rows_of(benchmark, repositories)


def test_what_the_original_lacks_is_said(benchmark: tuple[ModuleType, ModuleType], repositories: Path) -> None:
    with pytest.raises(ValueError, match="pads frames of 154x90"):
        rows_of(benchmark, repositories, width=154)
    with pytest.raises(ValueError, match="There is no E-NeRV"):
        rows_of(benchmark, repositories, codec="enerv")
    with pytest.raises(ValueError, match="FFNeRV's code has no such network"):
        rows_of(benchmark, repositories, codec="ffnerv")
