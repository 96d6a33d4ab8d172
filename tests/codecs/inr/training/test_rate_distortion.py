"""Rate points of one size share what precedes the rate."""

from pathlib import Path

import pytest
import torch
from conftest import make_y4m

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.nerv import NeRVCodec
from rdbench.codecs.nvrc import NVRCCodec, NVRCSettings
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

torch.set_num_threads(1)


def encode(
    codec: InrCodec, folder: Path, shared: Path, label: str, stop_after: int | None = None
) -> tuple[bytes, Workspace, list[str]]:
    folder.mkdir(exist_ok=True)
    video = open_video(make_y4m(folder / "c.y4m", 32, 18, 3))
    source, messages = Source(video, RgbVideo(video, find_conditions("rgb601"))), []

    def progress(done: float, total: float, text: str) -> None:
        messages.append(text)
        if len(messages) == stop_after:
            raise KeyboardInterrupt

    workspace = Workspace(folder, progress=progress, shared=shared)
    codec.encode(source, codec.rate_point(label, Clip(video.format, 3)), folder / "b", workspace)
    return (folder / "b").read_bytes(), workspace, messages


@pytest.mark.parametrize(
    ("codec", "labels", "first"),
    [
        (
            NeRVCodec(NeRVCodec.Settings(epochs=4, frequencies=8, compression="entropy-constrained")),  # type: ignore[call-arg]
            ("5K-lambda0.1", "5K-lambda0.5"),
            "fit ",
        ),
        (
            NVRCCodec(NVRCSettings(epochs=10, free=0.4, finetune_epochs=1, patches=False, log_lr_scale=20.0)),
            ("5K-lambda30", "5K-lambda2"),
            "free fit ",
        ),
    ],
)
def test_lambdas_share_one_pretraining_and_pay_for_it_each(
    codec: InrCodec, labels: tuple[str, str], first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS", 0.0)
    shared = tmp_path / "shared"
    with pytest.raises(KeyboardInterrupt):
        encode(codec, tmp_path / "a", shared, labels[1], stop_after=2)
    results = [encode(codec, tmp_path / name, shared, label) for name, label in zip("ba", labels, strict=True)]
    assert [sum(text.startswith(first) for text in messages) for _, _, messages in results] == [2, 0]
    for _, workspace, _ in results:  # of what is borrowed the first has done a half
        assert workspace.stopwatch.seconds["fit"] > workspace.stopwatch.borrowed > 0
    alone = [
        encode(codec, tmp_path / name, tmp_path / name, label)[0] for name, label in zip("cd", labels, strict=True)
    ]
    assert alone == [bitstream for bitstream, _, _ in results]
    assert alone[0] != alone[1]


def test_the_progress_shows_the_estimated_rate_where_it_is_in_the_loss(tmp_path: Path) -> None:
    settings = NeRVCodec.Settings(epochs=6, frequencies=8, compression="entropy-constrained")  # type: ignore[call-arg]
    bitstream, _, messages = encode(NeRVCodec(settings), tmp_path / "a", tmp_path / "a", "5K-lambda0.5")
    assert all("bpp" not in text for text in messages if text.startswith("fit "))
    shown = float(messages[-1].rpartition(", ")[2].removesuffix(" bpp"))
    assert shown == pytest.approx(8 * len(bitstream) / (32 * 18 * 3), rel=0.15)  # the header is no part of it
