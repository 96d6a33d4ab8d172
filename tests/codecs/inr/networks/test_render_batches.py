"""Frames in a call: the arithmetic for made memories, and that a video's frames and batches do not depend on it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy_network import ToyNetwork

from rdbench.codec import Workspace
from rdbench.codecs.inr import rendering
from rdbench.codecs.inr.clip_header import ClipHeader
from rdbench.codecs.inr.networks.render_batches import (
    Calls,
    CallsOnGpu,
    Memory,
    calls_on,
    frames_on_cpu,
    frames_on_gpu,
    largest_layer,
)
from rdbench.codecs.inr.rendering import RenderedVideo

torch.set_num_threads(1)
GIB, MIB = 1 << 30, 1 << 20
FULL_HD = 1920 * 1080


@pytest.mark.parametrize(
    ("frames", "pixels", "layer", "memory", "expected"),
    [
        (600, FULL_HD, 800 * MIB, Memory(80 * GIB, 70 * GIB), 8),  # 2^24 pixels hold eight frames
        (600, FULL_HD, 2 * GIB, Memory(80 * GIB, 70 * GIB), 3),  # a quarter of 80 is 20, and a frame takes 6
        (600, FULL_HD, 2 * GIB, Memory(80 * GIB, 18 * GIB), 3),  # what others use changes nothing
        (600, FULL_HD, 2 * GIB, Memory(80 * GIB, 17 * GIB), 1),  # until three do not fit
        (600, FULL_HD, 800 * MIB, Memory(80 * GIB, 10 * GIB), 4),
        (600, FULL_HD, 4 * GIB, Memory(8 * GIB, 1 * GIB), 1),  # a frame is rendered whatever there is
        (600, 320 * 180, 4 * MIB, Memory(80 * GIB, 70 * GIB), 150),  # a quarter of the clip
        (2000, 320 * 180, 4 * MIB, Memory(80 * GIB, 70 * GIB), 291),
        (3, FULL_HD, 800 * MIB, Memory(80 * GIB, 70 * GIB), 1),
        (600, 8 * FULL_HD + 1, MIB, Memory(80 * GIB, 70 * GIB), 1),  # more pixels than the limit
        (600, FULL_HD, 0, Memory(80 * GIB, 70 * GIB), 8),
    ],
)
def test_frames_on_a_gpu(frames: int, pixels: int, layer: int, memory: Memory, expected: int) -> None:
    assert frames_on_gpu(frames, pixels, layer, memory) == expected


def test_a_cpu_has_as_many_as_ever() -> None:
    assert [frames_on_cpu(320 * 180, size) for size in (8, 3, 1)] == [4, 3, 1]
    assert frames_on_cpu(FULL_HD, 8) == 1
    calls = calls_on(torch.device("cpu"), 600, 320 * 180, 8)
    with calls.around(nn.Linear(2, 2)):
        pass
    assert calls.frames == 4


def test_the_largest_layer_of_a_call_is_found_and_nothing_stays_behind() -> None:
    network = nn.Sequential(nn.Linear(4, 100), nn.GELU(), nn.Sequential(nn.Linear(100, 3)))
    with largest_layer(network) as found:
        network(torch.zeros(5, 4))
    assert found.bytes == 4 * 5 * (100 + 100)  # GELU reads and writes 100 values of 4 bytes for each of 5
    assert all(not module._forward_hooks for module in network.modules())


def test_a_video_is_the_same_in_other_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, counts = ToyNetwork().eval(), list[int]()
    clip = ClipHeader(8, 8, 5, 25, 1)
    forward = network.forward
    network.forward = lambda at: (counts.append(len(at.frames)), forward(at))[1]  # type: ignore[method-assign]

    def read(size: int) -> list[np.ndarray]:
        counts.clear()
        video = RenderedVideo(network, clip, Workspace(tmp_path))
        return [np.stack(batch.planes, 1) for batch in video.batches(size)]

    expected = read(3)
    assert (counts, [len(batch) for batch in expected]) == ([3, 2], [3, 2])

    def two_in_later_calls(device: torch.device, frames: int, pixels: int, size: int) -> Calls:
        assert (frames, pixels, size) == (5, 64, 3)
        return CallsOnGpu(8 * frames // 4, pixels, lambda: Memory(10**9, 10**9))

    monkeypatch.setattr(rendering, "calls_on", two_in_later_calls)
    found = read(3)
    assert counts == [1, 2, 2]
    assert [len(batch) for batch in found] == [3, 2]
    assert np.array_equal(np.concatenate(found), np.concatenate(expected))
