"""C3: its bitstream, its settings, and its training."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.c3 import LAMBDAS, C3Codec, C3Settings, patch_sides
from rdbench.codecs.inr.c3.context import VARIANTS
from rdbench.codecs.inr.c3.model import PatchModel
from rdbench.codecs.inr.c3.patch_codec import KINDS, Candidate, PatchEncoder, PatchHeader, even_sides
from rdbench.codecs.inr.c3.quantization import STEPS, StepPair, estimated_bits, read_networks, write_networks
from rdbench.codecs.inr.c3.training import PatchTraining, Plan, Task
from rdbench.codecs.inr.clip_header import ClipHeader
from rdbench.errors import BitstreamError, UsageError
from rdbench.video import Frames, VideoFormat
from rdbench.video.readers import MemoryVideo

SHORT = {"noise_steps": 12, "rounding_steps": 3, "mask_steps": 3, "mask_window": 9, "search": "axes"}


def moving(frames: int = 5, height: int = 34, width: int = 41) -> MemoryVideo:
    """A pattern that moves."""
    rows, columns = np.mgrid[:height, :width]
    planes = [
        np.stack([(127 + 90 * np.sin((columns + 2 * t) / 5 + c) * np.cos((rows + t) / 7)) for t in range(frames)])
        for c in range(3)
    ]
    fmt = VideoFormat(width, height, "rgb", 8, Fraction(25), full_range=True)
    return MemoryVideo(fmt, Frames(tuple(plane.astype(np.uint8) for plane in planes)))


def codec(**settings: object) -> C3Codec:
    return C3Codec(C3Settings(**{**SHORT, "per_frame_conv": "yes", "mean_init": "yes", **settings}))


def encode(own: C3Codec, video: MemoryVideo, folder: Path, seed: int = 0) -> Path:
    clip = Clip(video.format, video.frames or 0)
    folder.mkdir(exist_ok=True)
    path = folder / "c3.bin"
    own.encode(Source(video, video), own.rate_point("lambda0.0005", clip), path, Workspace(folder, seed=seed))
    return path


@pytest.mark.parametrize("variant", ["a", "b", "c"])
def test_what_is_decoded_is_what_was_trained(variant, tmp_path) -> None:
    video = moving()
    frames = torch.from_numpy(np.stack(next(video.batches(8)).planes, axis=1))
    plan = Plan(12, 3, 1e-2, 3e-2, 3, 9, "axes")
    encoder = PatchEncoder((5, 34, 41), [Candidate(variant, False, True)], 5e-4, plan)
    decoder = C3Codec.decoder(ClipHeader(41, 34, 5, 25, 1), encoder.numbers, "cpu")
    (piece,) = decoder.pieces
    trained = encoder.train(piece, frames, None, None, _Run())
    patch = decoder.read(piece, encoder.write(piece, trained, None), None)
    for i, grid in enumerate(patch.grids):
        assert torch.equal(grid, trained.tensors[f"grid{i}"].float() * 0.3)
    with torch.no_grad():
        error = float(((decoder.render(piece, patch) * 255).round() - frames).square().mean()) / 255**2
    bits = 8 * sum(len(part) for kind, part in encoder.write(piece, trained, None).items() if kind != "patch")
    assert trained.cost == pytest.approx(error + 5e-4 * bits / (5 * 34 * 41), rel=5e-3)


class _Run:
    """A run that is never interrupted."""

    seed, candidate, saved, due = 0, 0, None, False

    def report(self, share: float, psnr: float) -> None:
        assert 0 < share <= 1

    def save(self, state: object) -> None:
        raise AssertionError("nothing was due")


class _Interrupted(_Run):
    """A run that saves its state after some steps and then ends, as if it were killed."""

    def __init__(self, steps: int) -> None:
        self._left, self.state = steps, None

    @property
    def due(self) -> bool:
        self._left -= 1
        return not self._left

    def save(self, state: object) -> None:
        raise StopIteration(state)


@pytest.mark.parametrize("steps", [2, 9, 17])
def test_an_interrupted_training_ends_with_the_same_patch(steps) -> None:
    target = torch.from_numpy(np.stack(next(moving().batches(8)).planes, axis=1)).float() / 255
    task = Task(target, 5e-4, Plan(12, 5, 1e-2, 3e-2, 3, 9, "axes"), True)
    design = Candidate("c", True, True).design((5, 34, 41))
    torch.manual_seed(1)
    whole = PatchTraining(task, design, _Run()).train()
    torch.manual_seed(1)
    with pytest.raises(StopIteration) as stopped:
        PatchTraining(task, design, _Interrupted(steps)).train()
    state, rng = stopped.value.value, torch.get_rng_state()
    state = {**state, "model": {name: t.clone() for name, t in state["model"].items()}}
    again = _Run()
    again.saved = state
    torch.manual_seed(99)
    torch.set_rng_state(rng)
    resumed = PatchTraining(task, design, again).train()
    assert resumed.cost == whole.cost
    assert resumed.model.design == whole.model.design
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor)


def test_a_stream_decodes_in_patches_and_its_ledger_adds_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("rdbench.codecs.c3.patch_sides", lambda weight: (3, 17, 41))
    video = moving(6)
    path = encode(codec(variant="b"), video, tmp_path)
    ledger = C3Codec.ledger(path)
    assert sum(ledger.values()) == path.stat().st_size
    assert set(KINDS) <= set(ledger)
    decoded = C3Codec.decode(path, Workspace(tmp_path))
    whole = np.concatenate([np.stack(batch.planes, axis=1) for batch in decoded.batches()])
    part = np.concatenate([np.stack(batch.planes, axis=1) for batch in decoded.span(4, 6)])
    assert whole.shape == (6, 3, 34, 41)
    assert np.array_equal(part, whole[4:6])
    assert len(C3Codec.states(path)) == 4


def test_adaptive_keeps_the_cheapest_candidate(tmp_path, monkeypatch) -> None:
    own = codec(variant="adaptive", per_frame_conv="search", mean_init="search", noise_steps=4, rounding_steps=1)
    train, costs = PatchEncoder.train, {}

    def record(self, piece, frames, reference, before, run):
        trained = train(self, piece, frames, reference, before, run)
        costs[own.candidates()[run.candidate]] = trained.cost
        return trained

    monkeypatch.setattr(PatchEncoder, "train", record)
    (patch,) = C3Codec.states(encode(own, moving(3, 24, 24), tmp_path))
    best = min(costs, key=lambda candidate: costs[candidate])
    assert len(costs) == 9
    assert patch.model.design.variant.name == best.variant
    assert patch.model.design.per_frame == best.per_frame


def test_the_same_seed_gives_the_same_file(tmp_path) -> None:
    first, second = (encode(codec(variant="b"), moving(), tmp_path / name).read_bytes() for name in ("one", "two"))
    assert first == second
    assert encode(codec(variant="b"), moving(), tmp_path / "three", seed=1).read_bytes() != first


def test_training_lowers_the_error(tmp_path) -> None:
    errors = []
    for steps in (1, 60):
        path = encode(codec(variant="b", noise_steps=steps), moving(), tmp_path / str(steps))
        decoded = next(iter(C3Codec.decode(path, Workspace(tmp_path)).batches()))
        reference = next(moving().batches(8))
        pairs = zip(decoded.planes, reference.planes, strict=True)
        errors.append(np.mean([np.square(a.astype(float) - b).mean() for a, b in pairs]))
    assert errors[1] < errors[0] / 2


def test_rate_points_are_lambdas() -> None:
    clip = Clip(VideoFormat(1920, 1080, "rgb"), 600)
    own = codec()
    assert [point.settings["lambda"] for point in own.rate_points(clip)] == list(LAMBDAS)
    assert own.rate_point("lambda0.03", clip).settings == {"lambda": 0.03}
    for wrong in ("100K", "lambda0", "lambda1e-3", "lambda500"):
        with pytest.raises(UsageError, match=r"lambda0\.001"):
            own.rate_point(wrong, clip)


def test_patches_are_the_papers_where_they_divide_the_clip() -> None:
    uvg, small = ClipHeader(1920, 1080, 600, 120, 1), ClipHeader(320, 180, 32, 25, 1)
    assert [even_sides(uvg, patch_sides(weight)) for weight in (2e-3, 1e-3, 2e-4)] == [
        (75, 270, 320), (60, 180, 240), (30, 180, 240)
    ]  # fmt: skip
    assert even_sides(small, patch_sides(1e-3)) == (32, 180, 320)


def test_pairs_of_settings() -> None:
    def pairs(per_frame: str, mean: str) -> list[tuple[bool, bool]]:
        own = codec(variant="a", per_frame_conv=per_frame, mean_init=mean)
        return [(candidate.per_frame, candidate.from_mean) for candidate in own.candidates()]

    assert pairs("search", "search") == [(True, True), (True, False), (False, True)]
    assert pairs("search", "yes") == [(True, True), (False, True)]
    assert pairs("no", "no") == [(False, False)]


@pytest.mark.parametrize("letter", list(VARIANTS))
def test_a_patch_header_comes_back(letter) -> None:
    variant = VARIANTS[letter]
    boxes = tuple(Candidate(letter, True, False).design((4, 20, 20)).boxes)
    if letter == "c":
        boxes = ((-32, 28), (5, -7), (0, 0), *boxes[3:])
    coded = tuple(grid != 1 for grid in range(variant.grids))
    header = PatchHeader(Candidate(letter, True, False), StepPair(3, 6), coded, boxes)
    assert PatchHeader.unpack(header.pack()) == header
    assert len(header.pack()) <= 10
    for damaged in (header.pack() + b"\x01", b"\x20" + header.pack()[1:], b"\x01\x33\x01", b""):
        with pytest.raises(BitstreamError):
            PatchHeader.unpack(damaged)


def test_networks_come_back_rounded_at_the_estimated_length() -> None:
    torch.manual_seed(0)
    design = Candidate("b", True, True).design((4, 20, 20))
    one, other = PatchModel(design), PatchModel(design)
    steps = StepPair(STEPS.index(1e-3), STEPS.index(5e-4))
    networks = [one.synthesis, *one.contexts]
    data = write_networks(networks, steps)
    assert 8 * len(data) == pytest.approx(estimated_bits(networks, steps), rel=5e-3, abs=32)
    read_networks(data, [other.synthesis, *other.contexts], steps)
    for name, tensor in one.synthesis.named_parameters():
        step = steps.of(tensor)
        assert float((tensor - dict(other.synthesis.named_parameters())[name]).detach().abs().max()) <= step * 0.501
    for cut in (data[:3], data[:-4], data + bytes(4)):
        with pytest.raises(BitstreamError):
            read_networks(cut, [other.synthesis, *other.contexts], steps)


@pytest.mark.parametrize("letter", list(VARIANTS))
def test_an_untrained_patch_can_be_written_too(letter) -> None:
    encoder = PatchEncoder((4, 20, 20), [Candidate(letter, False, True)], 1e-3, Plan(1, 0, 1e-2, 3e-2, 1, 9, "axes"))
    decoder = C3Codec.decoder(ClipHeader(20, 20, 4, 25, 1), encoder.numbers, "cpu")
    (piece,) = decoder.pieces
    sample = encoder.sample(piece, None)
    grids = decoder.read(piece, encoder.write(piece, sample, None), None).grids
    assert torch.equal(grids[0], sample.tensors["grid0"].float() * 0.3)
    assert grids[0].any()


def test_an_empty_grid_and_its_network_take_no_bytes() -> None:
    encoder = PatchEncoder((4, 20, 20), [Candidate("b", True, True)], 1e-3, Plan(1, 0, 1e-2, 3e-2, 1, 9, "axes"))
    decoder = C3Codec.decoder(ClipHeader(20, 20, 4, 25, 1), encoder.numbers, "cpu")
    (piece,) = decoder.pieces
    trained = encoder.sample(piece, None)
    for name, tensor in trained.tensors.items():
        if name.startswith("grid"):
            tensor.zero_()
    parts = encoder.write(piece, trained, None)
    assert (parts["latents"], parts["entropy"]) == (b"", b"")
    assert not any(grid.any() for grid in decoder.read(piece, parts, None).grids)
