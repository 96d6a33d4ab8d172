"""The registry of rate objectives: what `compression=` chooses from, and what a bitstream names by a number."""

from pathlib import Path

import pytest
import torch
from conftest import make_y4m

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.compression.post_training import PostTraining
from rdbench.codecs.inr.training import objectives
from rdbench.codecs.inr.training.objectives import OBJECTIVES, objective_for, scheme_class
from rdbench.codecs.inr.training.rate_distortion import InrSettings, LagrangianRate
from rdbench.codecs.nerv import NeRVCodec, NeRVSettings
from rdbench.errors import BitstreamError, UsageError
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

torch.set_num_threads(1)


class Doubled(LagrangianRate):
    """Another objective, as somebody would add it."""

    name, identifier = "doubled", 77


def encode(codec: NeRVCodec, folder: Path) -> Path:
    video = open_video(make_y4m(folder / "c.y4m", 32, 18, 2))
    source, point = (
        Source(video, RgbVideo(video, find_conditions("rgb601"))),
        codec.rate_point("5K-lambda0.1", Clip(video.format, 2)),
    )
    codec.encode(source, point, folder / "b", Workspace(folder))
    return folder / "b"


def test_names_and_numbers_are_unique() -> None:
    assert len({objective.name for objective in OBJECTIVES}) == len(OBJECTIVES)
    assert {objective.identifier for objective in OBJECTIVES}.isdisjoint({objectives.OWN_SCHEME})
    assert len({objective.identifier for objective in OBJECTIVES}) == len(OBJECTIVES)


def test_an_unknown_compression_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean entropy-constrained"):
        objective_for(InrSettings(compression="entropy-constraint"))
    assert objective_for(InrSettings()) is None


def test_another_compression_is_added_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = NeRVSettings(epochs=2, finetune_epochs=1, frequencies=8, compression="doubled")
    with pytest.raises(UsageError, match="no compression 'doubled'"):
        NeRVCodec(settings)
    monkeypatch.setattr(objectives, "OBJECTIVES", (*OBJECTIVES, Doubled))
    bitstream = encode(NeRVCodec(settings), tmp_path)
    (batch,) = NeRVCodec.decode(bitstream, Workspace(tmp_path)).batches()
    assert batch.planes[0].shape == (2, 18, 32)
    monkeypatch.undo()
    with pytest.raises(BitstreamError, match="scheme 77 is unknown"):
        NeRVCodec.decode(bitstream, Workspace(tmp_path))


def test_numbers_stand_for_schemes() -> None:
    assert scheme_class(0, PostTraining) is PostTraining
    assert [scheme_class(objective.identifier, PostTraining) for objective in OBJECTIVES] == [
        objective.scheme for objective in OBJECTIVES
    ]
