"""The container, and what a hostile file with a valid checksum can do."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdbench.codec import Workspace
from rdbench.codecs.inr import bitstream as stream
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.compression.post_training import PostTraining
from rdbench.codecs.inr.entropy.ans import CODERS
from rdbench.codecs.nerv import NeRV, NeRVCodec, NeRVConfig
from rdbench.errors import BitstreamError

torch.set_num_threads(1)
SECTIONS = {"config": b"\x01\x02", "weights": bytes(range(200)), "empty": b""}
SMALL = NeRVConfig(9, 16, (2,), channels=1, stem=4, lower=2, frequencies=4)
CLIP = ClipHeader(32, 18, 5, 30000, 1001)


def sign(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()[: stream.CHECKSUM_BYTES]


def nerv_sections() -> dict[str, bytes]:
    torch.manual_seed(3)
    return {"config": stream.pack_integers(header(SMALL)), **PostTraining(8).write(NeRV(SMALL, CLIP.frames))}


def header(config: NeRVConfig) -> list[int]:
    """Clip; the codec's own scheme, the number of its integers, 8 bit, arithmetic coder; network."""
    return [CLIP.width, CLIP.height, CLIP.frames, CLIP.rate_up, CLIP.rate_down, 0, 2, 8, 0, *config.numbers()]


def test_sections_come_back_and_the_ledger_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "b"
    stream.write_stream(path, "toy", SECTIONS)
    assert stream.read_stream(path, "toy") == SECTIONS
    ledger = stream.section_bytes(path, "toy")
    assert {name: ledger[name] for name in SECTIONS} == {name: len(data) for name, data in SECTIONS.items()}
    assert sum(ledger.values()) == path.stat().st_size


def test_every_flipped_byte_and_every_cut_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "b"
    stream.write_stream(path, "toy", SECTIONS)
    good = path.read_bytes()
    flipped = [good[:i] + bytes([good[i] ^ 1 << i % 8]) + good[i + 1 :] for i in range(len(good))]
    for bad in [*flipped, *(good[:i] for i in range(len(good))), good + b"\0"]:
        path.write_bytes(bad)
        with pytest.raises(BitstreamError):
            stream.read_stream(path, "toy")


def test_another_codec_and_another_version_are_named(tmp_path: Path) -> None:
    path = tmp_path / "b"
    stream.write_stream(path, "toy", SECTIONS)
    with pytest.raises(BitstreamError, match=r"'toy'.*'nerv'"):
        stream.read_stream(path, "nerv")
    body = bytearray(path.read_bytes()[: -stream.CHECKSUM_BYTES])
    body[len(stream.signature("toy"))] = 77
    path.write_bytes(sign(bytes(body)))
    with pytest.raises(BitstreamError, match="version 77"):
        stream.read_stream(path, "toy")


@given(st.lists(st.integers(0, stream.LARGEST_INTEGER)))
def test_integers_come_back(values: list[int]) -> None:
    assert stream.unpack_integers(stream.pack_integers(values)) == values


@pytest.mark.parametrize("data", [b"\x80", b"\xff" * 20 + b"\x01", b"\x80" * 100_000 + b"\x01"])
def test_endless_integers_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        stream.unpack_integers(data)


@pytest.mark.parametrize("coder", CODERS)
@given(values=st.lists(st.integers(0, 9), max_size=300))
def test_symbols_come_back(coder: str, values: list[int]) -> None:
    encode, decode = CODERS[coder]
    table, payload = encode(np.array(values, dtype=np.int32), 10)
    assert decode(table, payload, len(values), 10).tolist() == values


@pytest.mark.parametrize("coder", CODERS)
def test_symbols_take_their_entropy(coder: str) -> None:
    counts = np.array([500, 250, 125, 125])  # powers of two: Huffman is exact too
    symbols = np.random.default_rng(0).permutation(np.repeat(np.arange(4), counts)).astype(np.int32)
    encode, _ = CODERS[coder]
    _, payload = encode(symbols, 4)
    assert 8 * len(payload) == pytest.approx(1.75 * 1000, abs=64)


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("payload", [b"", b"abc", b"\0\0\0\0", b"abcd" * 50])
def test_symbols_that_do_not_fit_their_table_are_refused(coder: str, payload: bytes) -> None:
    encode, decode = CODERS[coder]
    table, _ = encode(np.array([0, 1, 2, 1] * 20, dtype=np.int32), 3)
    if coder == "huffman" and payload == b"abcd" * 50:
        return  # any bits are a message of this code; the container's checksum catches it
    with pytest.raises(BitstreamError):
        decode(table, payload, 80, 3)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["config", "ranges", "table", "weights"]), st.data())
def test_a_hostile_file_is_refused_or_rendered(tmp_path: Path, section: str, data: st.DataObject) -> None:
    sections = nerv_sections()
    raw = bytearray(sections[section])
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    path = tmp_path / "b"
    stream.write_stream(path, "nerv", {**sections, section: bytes(raw)})
    try:
        video = NeRVCodec.decode(path, Workspace(tmp_path))
    except BitstreamError:
        return
    assert len(next(iter(video.batches(1)))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {0: 1 << 15, 1: 1 << 15},  # a frame of a gigapixel
        {2: 1 << 40},
        {0: 0},
        {4: 0},
        {5: 9},  # an unknown scheme
        {5: 1},  # the scheme of another header
        {6: 3},  # more integers of the scheme than there are
        {7: 40},  # 40 bit
        {8: 2},  # an unknown coder
        {11: 0},  # no stages
        {12: 1 << 14},  # a stride beyond the frame
        {13: 0},
        {14: 1 << 15, 13: 1 << 15},  # a wide stem
        {18: 9},  # an unknown activation
    ],
)
def test_an_impossible_header_is_refused(tmp_path: Path, changes: dict[int, int]) -> None:
    sections = nerv_sections()
    numbers = stream.unpack_integers(sections["config"])
    for place, value in changes.items():
        numbers[place] = value
    stream.write_stream(tmp_path / "b", "nerv", {**sections, "config": stream.pack_integers(numbers)})
    with pytest.raises(BitstreamError):
        NeRVCodec.decode(tmp_path / "b", Workspace(tmp_path))


def test_the_scheme_follows_from_its_number_not_from_the_sections(tmp_path: Path) -> None:
    sections = nerv_sections()
    numbers = stream.unpack_integers(sections["config"])
    for number, message in ((9, "scheme 9 is unknown"), (1, "lacks a section")):
        numbers[5:9] = [number, 0] if number == 1 else [number, *numbers[6:9]]
        stream.write_stream(tmp_path / "b", "nerv", {**sections, "config": stream.pack_integers(numbers)})
        with pytest.raises(BitstreamError, match=message):
            NeRVCodec.decode(tmp_path / "b", Workspace(tmp_path))
        numbers = stream.unpack_integers(sections["config"])


def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    config = NeRVConfig(9, 16, (2,), channels=1, stem=100, lower=1, frequencies=60_000)
    table, payload = CODERS["arithmetic"][0](np.zeros(9, dtype=np.int32), 258)
    with torch.device("meta"):
        network = NeRV(config, 5)
    rows = sum(p.shape[0] if p.dim() > 1 else 1 for p in network.parameters())
    packed = stream.pack_integers(header(config))
    sections = {"config": packed, "ranges": bytes(4 * rows), "table": table, "weights": payload}
    stream.write_stream(tmp_path / "b", "nerv", sections)
    with pytest.raises(BitstreamError, match="do not fit"):
        NeRVCodec.decode(tmp_path / "b", Workspace(tmp_path))
