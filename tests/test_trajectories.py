"""Our trainings are those of the authors' code: the same PSNR before every step, from the same weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trajectories

from rdbench.codecs.inr.embedding_based import EmbeddingCodec
from rdbench.codecs.inr.index_based import IndexCodec


@pytest.mark.parametrize("name", trajectories.COMPARISONS)
def test_the_quality_before_every_step_is_the_originals(name: str, tmp_path: Path) -> None:
    kept = trajectories.kept()[name]
    assert len(kept) == trajectories.FRAMES * trajectories.EPOCHS
    assert max(kept) > kept[0] + 0.4  # the network learns
    ours = trajectories.trajectory(name, tmp_path)
    assert np.abs(np.subtract(ours, kept)).max() < trajectories.COMPARISONS[name].tolerance


@pytest.mark.parametrize(("name", "codec"), [("nerv", IndexCodec), ("hnerv", EmbeddingCodec)])
def test_another_end_of_the_warm_up_is_noticed(
    name: str, codec: type[IndexCodec | EmbeddingCodec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = codec.recipe
    other = {"epoch": "step", "step": "epoch"}

    def swapped(self: IndexCodec | EmbeddingCodec) -> list[object]:
        return [replace(stage, warmup_ends=other[stage.warmup_ends]) for stage in recipe(self)]

    monkeypatch.setattr(codec, "recipe", swapped)
    ours = trajectories.trajectory(name, tmp_path)
    assert np.abs(np.subtract(ours, trajectories.kept()[name])).max() > 10 * trajectories.COMPARISONS[name].tolerance


def test_the_clip_and_the_weights_follow_from_formulas() -> None:
    """Values computed by hand: |0 - 128| + |0 - 128| is limited to 255, and at x = 30, y = 4 of frame 1, channel 2."""
    clip = trajectories.clip(8, 40)
    assert clip.shape == (trajectories.FRAMES, 3, 8, 40)
    assert clip[0, 0, 0, 0] == 255
    assert clip[1, 2, 4, 30] == abs(7 * 30 + 12 + 9 - 128) + abs(60 - 24 + 13 - 128)
    first = trajectories.initial("head.weight", (3, 4), 0)
    assert first[0, 0] == np.float32((2 * 0.5488135039273248 - 1) / 2)  # the first number of seed 0, over sqrt(4)
    assert abs(trajectories.initial("norm.weight", (5,), 1) - 1).max() <= 0.1
    assert abs(trajectories.initial("norm.bias", (5,), 1)).max() <= 0.1
