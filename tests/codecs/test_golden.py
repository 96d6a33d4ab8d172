"""Golden bitstreams decode to the weights and frames that they held when they were made; `golden.py` renews them."""

from pathlib import Path

import golden
import pytest
import torch

from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.training.objectives import OBJECTIVES
from rdbench.registry import find_card, find_codecs, load_codec, parse_specs

torch.set_num_threads(1)
INDEX = golden.read_index()


@pytest.mark.parametrize("name", [*golden.INR, *golden.CONVENTIONAL])
def test_a_golden_bitstream_decodes_to_the_same_weights_and_frames(name: str) -> None:
    """Where this fails after a deliberate change, raise the revision and run `python tests/golden.py`."""
    assert golden.decode(name, golden.file_of(name)) == INDEX[name]


def test_every_scheme_of_ours_has_a_golden_bitstream() -> None:
    classes = [load_codec(name) for name in find_codecs() if find_card(name).kind == "INR"]
    own = {cls.scheme for cls in classes if issubclass(cls, InrCodec)}
    kept = {load_codec(parse_specs(name)[0].name) for name in golden.INR}
    assert own == {cls.scheme for cls in kept if issubclass(cls, InrCodec)}
    codecs = [codec for name in golden.INR if isinstance(codec := golden.codec_of(name), InrCodec)]
    chosen = {codec.settings.compression for codec in codecs}
    assert {objective.name for objective in OBJECTIVES} < chosen


@pytest.mark.parametrize("name", golden.INR)
def test_no_sample_is_near_a_rounding_edge(name: str) -> None:
    assert golden.clearance(name, golden.file_of(name)) > golden.CLEARANCE


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    data = bytearray(golden.file_of("x264").read_bytes())
    data[-20] ^= 1
    (tmp_path / "b").write_bytes(data)
    assert golden.decode("x264", tmp_path / "b") != INDEX["x264"]


@pytest.mark.parametrize("name", golden.CONVENTIONAL)
def test_elementary_streams_are_written_by_the_same_rules(name: str, tmp_path: Path) -> None:
    """The same kinds of NAL units or OBUs: no container, no text of the encoder."""
    golden.encode(name, tmp_path / "b", 0)
    kinds = [{unit.partition(":")[0] for unit in units.split()} for units in
             (golden.decode(name, tmp_path / "b").units, INDEX[name].units)]  # fmt: skip
    assert kinds[0] == kinds[1]
