"""Candidates: what decides between them, and that the chosen one's training is the one that it has alone."""

import math
from pathlib import Path

import numpy as np
import pytest

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.canerv import CANeRVCodec, CANeRVSettings
from rdbench.codecs.inr.selecting import Trial, best
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo

SHORT = {"epochs": 4, "select": 0.5, "quantize_epochs": 1, "lr": 5e-3}
EPOCHS = 3 * 2 + 4 + 1
"""Of a search: the first stage of three candidates, then the whole recipe of the fourth."""


def coded(folder: Path, stop_after: int | None = None, **options: object) -> tuple[bytes, Workspace, list[float]]:
    """The bitstream of a small clip, its workspace, and the progress that was reported."""
    t, y, x = np.mgrid[:3, :48, :64]
    luma = (40 + x + 2 * y + 9 * t).astype(np.uint8)
    video = MemoryVideo(VideoFormat(64, 48), Frames((luma, luma[:, ::2, ::2], luma[:, 1::2, ::2])))
    codec = CANeRVCodec(CANeRVSettings.model_validate({**SHORT, **options}))
    shares: list[float] = []

    def progress(done: float, total: float, text: str) -> None:
        shares.append(done / total)
        if len(shares) == stop_after:
            raise KeyboardInterrupt

    folder.mkdir(exist_ok=True)
    workspace = Workspace(folder, progress=progress)
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    codec.encode(source, codec.rate_point("8K", Clip(video.format, 3)), folder / "b", workspace)
    return (folder / "b").read_bytes(), workspace, shares


def test_the_least_cost_wins() -> None:
    """The same rate: by quality. Half a doubling of the rate costs 2 / ln 2 * 0.5 = 1.44 dB at 2 dB a doubling."""
    first = Trial(30.0, 1000)
    assert best([first, Trial(30.5, 1000), Trial(30.4, 1000)], 2.0, 0.1) == 1
    assert best([first, Trial(31.4, 1500)], 2.0, 0.1) == 0
    assert best([first, Trial(31.6, 1500)], 2.0, 0.1) == 1
    assert best([first, Trial(28.7, 500)], 2.0, 0.1) == 1


def test_a_small_advantage_is_a_tie_which_the_first_wins() -> None:
    assert best([Trial(30.0, 1000), Trial(30.09, 1000)], 2.0, 0.1) == 0
    assert best([Trial(30.0, 1000), Trial(30.11, 1000)], 2.0, 0.1) == 1


def test_the_chosen_candidate_is_trained_as_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdbench.codecs.inr.selecting.best", lambda trials, db_per_doubling, tie: 2)
    searched, workspace, shares = coded(tmp_path / "search")
    alone, _, _ = coded(tmp_path / "alone", profile="grids")
    assert searched == alone
    assert str(workspace.report["execution"]).startswith("grids chosen of balanced ")
    assert shares == pytest.approx([done / EPOCHS for done in range(1, EPOCHS + 1)])


def test_a_candidate_without_a_network_of_the_size_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, meets = Clip(VideoFormat(64, 48), 3), CANeRVCodec.meets
    monkeypatch.setattr(
        CANeRVCodec, "meets", lambda self, clip, size: self.candidate_name != "late" and meets(self, clip, size)
    )
    codec = CANeRVCodec(CANeRVSettings.model_validate(SHORT))
    names = [each.candidate_name for each in codec.able(clip, codec.rate_point("8K", clip))]
    assert names == ["balanced", "grids", "kernels"]
    _, workspace, _ = coded(tmp_path / "search")
    assert str(workspace.report["execution"]).endswith("bits; no network of this size: late")


def test_the_encode_time_has_every_candidate_once(tmp_path: Path) -> None:
    """What was trained in this process is in `select` or in `fit`, and nothing of it counts as borrowed."""
    _, workspace, _ = coded(tmp_path / "whole")
    assert workspace.stopwatch.seconds["select"] > 0
    assert workspace.stopwatch.seconds["fit"] > 0
    assert math.isclose(workspace.stopwatch.borrowed, 0, abs_tol=0.05)


@pytest.mark.parametrize("stop_after", [1, 8, 10])
def test_an_interrupted_search_ends_as_one_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    monkeypatch.setattr("rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS", 0.0)
    whole, _, _ = coded(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        coded(tmp_path / "cut", stop_after)
    resumed, workspace, _ = coded(tmp_path / "cut")
    assert resumed == whole
    assert workspace.stopwatch.borrowed > 0


def test_plans_count_the_candidates() -> None:
    clip = Clip(VideoFormat(64, 48), 3)
    macs = {
        name: codec.encode_macs(clip, codec.rate_point("8K", clip))
        for name in ("search", "balanced", "late", "grids", "kernels")
        for codec in [CANeRVCodec(CANeRVSettings.model_validate({**SHORT, "profile": name}))]
    }
    others = macs["late"] + macs["grids"] + macs["kernels"]
    assert macs["search"] == pytest.approx(macs["balanced"] + 2 / 5 * others)


def test_memory_is_that_of_the_largest_candidate_and_lambdas_share_nothing() -> None:
    clip = Clip(VideoFormat(64, 48), 3)
    codecs = [
        CANeRVCodec(CANeRVSettings.model_validate({"profile": name, "compression": "entropy-constrained"}))
        for name in ("search", "balanced", "late", "grids", "kernels")
    ]
    point = codecs[0].rate_point("8K-lambda0.2", clip)
    needed = [codec.expected_gpu_memory_mb(clip, point) for codec in codecs]
    assert needed[0] == max(each for each in needed[1:] if each is not None)
    assert [codec.shared_artifact(point) is None for codec in codecs] == [True, *[False] * 4]
