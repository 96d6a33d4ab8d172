"""Checkpoints: when they are due, and that large ones take no second copy in memory."""

import time
from pathlib import Path

import pytest
import torch

from rdbench.codecs.inr.training import checkpoint
from rdbench.codecs.inr.training.checkpoint import Checkpoint

CPU = torch.device("cpu")


def state(value: float) -> dict[str, object]:
    return {"rows": [torch.full((1000,), value)], "network": {"weight": torch.full((50, 20), value)}}


@pytest.mark.parametrize("most", [0, 1 << 30])
def test_a_state_is_the_one_at_the_time_of_saving(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LARGEST_COPY", most)
    saved = Checkpoint(tmp_path / "c.pt", ["rows"])
    held = state(1.0)
    saved.save(held)
    held["network"]["weight"].fill_(2.0)  # type: ignore[index]
    saved.wait()
    found = saved.load(CPU)
    assert found is not None
    assert torch.equal(found["network"]["weight"], torch.full((50, 20), 1.0))
    assert torch.equal(found["rows"][0], torch.full((1000,), 1.0))


def test_a_large_state_is_written_without_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LARGEST_COPY", 7999)  # one byte less than the tensors have
    monkeypatch.setattr(checkpoint, "_on_cpu", lambda value: pytest.fail("copied"))
    Checkpoint(tmp_path / "c.pt").save(state(1.0))
    assert (tmp_path / "c.pt").exists()
    monkeypatch.setattr(checkpoint, "LARGEST_COPY", 8000)
    with pytest.raises(pytest.fail.Exception, match="copied"):
        Checkpoint(tmp_path / "d.pt").save(state(1.0))


def test_large_checkpoints_take_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    saved = Checkpoint(tmp_path / "c.pt")
    clock[0] += 19
    assert not saved.due
    clock[0] += 2
    assert saved.due

    def slow(value: object, path: Path) -> None:
        clock[0] += 3  # seconds that the training waits
        path.write_bytes(b"")

    monkeypatch.setattr(torch, "save", slow)
    saved.save(state(1.0))
    saved.wait()
    clock[0] += 21
    assert saved.due  # the training did not wait for a small one
    monkeypatch.setattr(checkpoint, "LARGEST_COPY", 0)
    saved.save(state(1.0))
    clock[0] += 59
    assert not saved.due
    clock[0] += 2
    assert saved.due  # after 20 times as long


def test_a_training_that_fails_leaves_a_whole_checkpoint_and_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = torch.save

    def slow(value: object, path: Path) -> None:
        time.sleep(0.3)
        write(value, path)

    monkeypatch.setattr(torch, "save", slow)
    saved = Checkpoint(tmp_path / "c.pt", ["rows"])

    def fail() -> None:
        with saved:
            saved.save(state(1.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert saved.load(CPU) is not None
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]
