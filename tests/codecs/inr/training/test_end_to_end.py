"""Fitting for the rate: its steps, what fades, the YUV loss, sizes with lambda, codecs that borrow NVRC's scheme."""

import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from conftest import make_y4m
from pytorch_msssim import ssim

from rdbench.codec import Clip, RatePoint
from rdbench.codecs.inr.codec import ClipHeader, InrCodec
from rdbench.codecs.inr.compression.nvrc.scheme import HierarchicalScheme, Parts, initial_log_step
from rdbench.codecs.inr.recipes.losses import MIXES, loss_of
from rdbench.codecs.inr.recipes.optimizers import make_optimizer
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training.end_to_end import lambda_of
from rdbench.codecs.nvrc import NVRC, NVRCConfig
from rdbench.errors import UsageError
from rdbench.registry import create, parse_specs
from rdbench.runner.bench import bench
from rdbench.runner.options import ClipOptions
from rdbench.runner.session import single_job
from rdbench.video.readers import open_video

torch.set_num_threads(1)
OPTIONS = ClipOptions(preset="tiny", frames=4, seed=0, device="cpu", threads=1)


def make(name: str) -> InrCodec:
    (spec,) = parse_specs(name)
    return cast(InrCodec, create(spec))


def test_a_timing_has_its_share_of_steps_for_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole cycles of K = 4: seven steps take two, and one warms up, in both stages."""
    rate, calls = HierarchicalScheme.rate, 0

    def count(self: HierarchicalScheme, tensors: dict[str, torch.Tensor]) -> torch.Tensor | None:
        nonlocal calls
        calls += 1
        return rate(self, tensors)

    monkeypatch.setattr(HierarchicalScheme, "rate", count)
    report = bench("fit", single_job("nvrc[rate_every=4]", "bunny@160x90", "6K", OPTIONS), 7)
    assert [timing.name for timing in report.timings] == ["fit", "finetune"]
    assert [len(timing.seconds) for timing in report.timings] == [2, 2]
    assert calls == 2 * (1 + 2)


def test_the_yuv_loss_is_the_papers() -> None:
    torch.manual_seed(0)
    output, target = torch.rand(2, 2, 3, 24, 24)
    matrix = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    shown, wanted = (torch.einsum("pc,bchw->bphw", matrix, rgb) for rgb in (output, target))
    y, u, v = (shown - wanted).square().mean((0, 2, 3))
    likeness = ssim(shown[:, :1], wanted[:, :1], data_range=1.0, win_size=5)
    by_hand = 0.99 * y ** (6 / 8) * u ** (1 / 8) * v ** (1 / 8) + 0.01 * (1 - likeness)
    assert float(loss_of(MIXES["yuv"], output, target)) == pytest.approx(float(by_hand), rel=1e-4)


def test_a_rate_point_is_a_size_and_a_lambda(tmp_path: Path) -> None:
    video = open_video(make_y4m(tmp_path / "a.y4m", 64, 48, 2))
    clip = Clip(video.format, 2)
    codec = make("nvrc")
    assert dict(codec.rate_point("1.5M-lambda4", clip).settings) == {"size": 1_500_000, "lambda": 4.0}
    assert make("nerv[compression=nvrc]").rate_point("10K-lambda0.5", clip).label == "10K-lambda0.5"
    points = codec.rate_points(Clip(video.format, 2, (10_000, 20_000)))
    assert [point.label for point in points] == ["10K", "20K"]
    for point in points:
        assert codec.rate_point(point.label, clip) == point
        assert point.settings["lambda"] == lambda_of(int(point.settings["size"]), clip)
    derived, yuv = points[0].settings["lambda"], make("nvrc[distortion=yuv]").rate_point("10K", clip)
    assert yuv.settings["lambda"] == 32 * float(derived)
    for name, label in (("nvrc", "10K-lambdax"), ("nvrc", "10K-lambda0"), ("hinerv", "10K-lambda4")):
        with pytest.raises(UsageError):
            make(name).rate_point(label, clip)


@pytest.mark.parametrize("frames", [150, 600])
@pytest.mark.parametrize(
    ("size", "pair"),
    [(2_140_698, (0.25, 0.5)), (6_351_101, (1, 2)), (14_192_999, (4, 8)), (31_410_203, (16, 32))],
)
def test_a_size_has_about_the_papers_lambdas(size: int, pair: tuple[float, float], frames: int, tmp_path: Path) -> None:
    """Those of MCL-JCV and UVG."""
    frame = open_video(make_y4m(tmp_path / "a.y4m", 64, 48, 1)).format
    clip = Clip(replace(frame, width=1920, height=1080), frames)
    assert pair[0] / 1.2 < lambda_of(size, clip) < pair[1]
    assert lambda_of(size, replace(clip, frames=32)) > 20 * lambda_of(size, clip)


def test_lambda_weighs_the_distortion_and_decay_fades_in_stage_1(tmp_path: Path) -> None:
    clip = Clip(open_video(make_y4m(tmp_path / "a.y4m", 64, 48, 2)).format, 2)
    codec = make("nvrc")
    first, last = codec.stages(codec.rate_point("10K-lambda4", clip))
    assert (first.rate_weight, first.weight_decay, first.decayed, first.fades) == (0.25, 0.25 * 1e-6, "layers", True)
    assert (last.rate_weight, last.weight_decay, last.proxy) == (0.25, 0.0, "mixed")


def test_steps_are_those_of_lambda_d_plus_r_for_every_lambda(tmp_path: Path) -> None:
    """On long clips the rate's gradients over lambda are below Adam's usual epsilon of 1e-8, yet steps are as large."""
    clip = Clip(open_video(make_y4m(tmp_path / "a.y4m", 64, 48, 2)).format, 2)
    codec = make("nvrc[distortion=yuv]")
    found = []
    for weight in (1, 1024):
        stage = codec.stages(codec.rate_point(f"10K-lambda{weight}", clip))[0]
        parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        optimizer = make_optimizer(stage, [parameter], [])
        for gradient in ((1e-7, 2e-7, -3e-7), (2e-7, 0, -1e-7)):  # of the bits a pixel
            parameter.grad = torch.tensor(gradient, dtype=torch.float64) * stage.rate_weight
            optimizer.step()
        found.append(parameter.detach() / stage.lr)
    assert torch.allclose(*found, rtol=1e-9)
    assert found[0].abs().min() > 1


@pytest.mark.parametrize("name", ["nvrc", "tenerv"])
def test_free_epochs_are_the_first_of_the_same_schedule_for_all_lambdas(name: str, tmp_path: Path) -> None:
    clip = Clip(open_video(make_y4m(tmp_path / "a.y4m", 64, 48, 2)).format, 2)

    def stages(share: float, label: str) -> list[Stage]:
        codec = make(f"{name}[compression=nvrc,free={share}]")
        return list(codec.stages(codec.rate_point(label, clip)))

    def rates(stages: list[Stage]) -> list[float]:
        return [stage.learning_rate(epoch) for stage in stages for epoch in range(stage.epochs)]

    whole, half, other = stages(0, "10K-lambda4"), stages(0.5, "10K-lambda4"), stages(0.5, "10K-lambda9")
    free = [stage for stage in half if not stage.proxy]
    assert sum(stage.epochs for stage in free) == round(0.5 * sum(stage.epochs for stage in whole[:-1]))
    assert all((stage.rate_weight, stage.weight_decay) == (0, 0) for stage in free)
    assert free == other[: len(free)]
    assert rates(half) == pytest.approx(rates(whole))
    assert half[len(free) + 1 :] == whole[len(whole) - len(half) + len(free) + 1 :]
    assert [stage.proxy for stage in stages(0.999, "10K-lambda4")[-2:]] == ["soft", "mixed"]


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("hinerv", (360, 30)), ("tenerv", (30, 270, 30)), ("nerv", (1250, 104)), ("nvrc", (360, 30))],
)
def test_borrowers_have_as_many_epochs(name: str, epochs: tuple[int, ...], tmp_path: Path) -> None:
    """Pruning's are the last stage's before it, quantization's those of stage 2, else NVRC's share of it."""
    clip = Clip(open_video(make_y4m(tmp_path / "a.y4m", 64, 48, 2)).format, 2)
    codec = make(f"{name}[compression=nvrc]")
    assert tuple(stage.epochs for stage in codec.stages(codec.rate_point("10K", clip))) == epochs


def test_records_of_other_compressions_do_not_name_what_they_do_not_read() -> None:
    assert "log_lr_scale" not in make("hinerv[log_lr_scale=3]").settings.model_dump()
    assert make("hinerv[compression=nvrc,log_lr_scale=3]").settings.model_dump()["log_lr_scale"] == 3


def test_the_former_name_of_log_lr_scale_works_and_says_so() -> None:
    with pytest.warns(FutureWarning, match="pace is now log_lr_scale"):
        codec = make("nvrc[pace=3]")
    assert codec.settings.log_lr_scale == 3
    assert "pace" not in codec.settings.model_dump()


@pytest.mark.parametrize("borrower", ["hinerv", "tenerv"])
def test_other_codecs_borrow_the_scheme_and_their_grids_are_coded_as_grids(borrower: str) -> None:
    codec, clip = make(f"{borrower}[compression=nvrc,grids=context]"), ClipHeader(64, 48, 9, 25, 1)
    stages = codec.stages(RatePoint("20K", {"size": 20_000, "lambda": 1.0}))
    assert [stage.proxy for stage in stages] == ["soft"] * (len(stages) - 1) + ["mixed"]
    network, config = codec.build_for(clip, 20_000)
    found = {name: network.get_parameter(name) for name in network.feature_grids}
    with torch.no_grad():
        for grid in found.values():
            grid.copy_(torch.randn(grid.shape) / 30)
    sections = codec.chosen_compression().write(network)
    again = codec.rebuild(clip, config.numbers())
    codec.chosen_compression().read(again, sections)
    assert 4 * len(sections["grids"]) > sum(grid.numel() for grid in found.values())  # two bits each and more
    for name, grid in found.items():
        half = 0.51 * math.exp(initial_log_step(grid))  # of an initial step
        assert (again.get_parameter(name) - grid).abs().max() < half
    assert not isinstance(make(borrower).chosen_compression(), HierarchicalScheme)


@pytest.mark.parametrize("parts", [Parts(2), Parts(0)])
def test_the_bytes_and_the_weights_are_the_same_for_any_number_of_threads(parts: Parts) -> None:
    config = NVRCConfig(12, 20, (2, 2), 40, 160, 1, 9, 2, 2, coarser=1)
    written, values = [], []
    for threads in (1, 2):
        torch.manual_seed(0)
        network, scheme = NVRC(config, 20), HierarchicalScheme(parts)
        with torch.no_grad():
            for level in network.levels:
                level.values.copy_(0.01 * torch.randn_like(level.values))
        scheme.enter(network, Stage("fit", 1, 1e-3, proxy="soft"))
        torch.set_num_threads(threads)
        written.append(scheme.write(network))
        torch.set_num_threads(3 - threads)
        with torch.device("meta"):
            again = NVRC(config, 20)
        HierarchicalScheme.from_numbers(scheme.numbers()).read(again, written[-1])
        values.append([parameter.detach() for parameter in again.parameters()])
        torch.set_num_threads(1)
    assert written[0] == written[1]
    assert all(torch.equal(one, two) for one, two in zip(*values, strict=True))
