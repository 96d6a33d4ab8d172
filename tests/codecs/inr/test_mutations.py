"""Damaged INR bitstreams with a good checksum are refused or decoded; every scheme, and the causes found so far.

`tests/benchmarks/stream_mutations.py` tries many more.
"""

import time
from dataclasses import fields
from pathlib import Path

import golden
import numpy as np
import pytest
import torch
from mutations import codec_class, golden_sections, mutate, outcome

from rdbench.codecs.inr.bitstream import pack_integers, unpack_integers
from rdbench.codecs.inr.codec import ClipHeader, InrCodec
from rdbench.codecs.inr.networks.network import MOST, MOST_LAYERS

torch.set_num_threads(1)
MUTATIONS = 40
LONGEST = 5.0
"""Seconds of CPU time for a refusal; without limits it was minutes."""
COUNTS_OF_SCHEME = len(fields(ClipHeader)) + 1
"""Index of the number of the scheme's integers, which follow it."""

FIXED = {"steps", "models", "scales", "third", "vectors"}
"""Sections of float16 or float32 numbers."""


def first_of_network(name: str, numbers: list[int]) -> int:
    """The index of the network's first integer: after the clip's, and after those of the scheme where there is one."""
    if issubclass(codec_class(name), InrCodec):
        return COUNTS_OF_SCHEME + 1 + numbers[COUNTS_OF_SCHEME]
    return len(fields(ClipHeader))


def with_network(name: str, changes: dict[int, int]) -> dict[str, bytes]:
    """The golden stream's sections with other integers of the network, by their position."""
    sections = golden_sections(name)
    numbers = unpack_integers(sections["config"])
    first = first_of_network(name, numbers)
    for position, value in changes.items():
        numbers[first + position] = value
    return {**sections, "config": pack_integers(numbers)}


def network_integers(name: str) -> int:
    """The number of the network's integers."""
    numbers = unpack_integers(golden_sections(name)["config"])
    return len(numbers) - first_of_network(name, numbers)


@pytest.mark.parametrize("name", golden.INR)
def test_the_undamaged_stream_decodes(name: str, tmp_path: Path) -> None:
    assert outcome(codec_class(name), golden_sections(name), tmp_path) == "decoded"


@pytest.mark.parametrize("name", golden.INR)
def test_a_damaged_stream_is_refused_or_decoded(name: str, tmp_path: Path) -> None:
    sections, cls = golden_sections(name), codec_class(name)
    damaged = [mutate(sections, np.random.default_rng(seed)) for seed in range(MUTATIONS)]
    outcomes = {outcome(cls, each, tmp_path) for each in damaged if each != sections}
    assert "refused" in outcomes


@pytest.mark.parametrize("name", golden.INR)
def test_sizes_whose_product_overflows_are_refused(name: str, tmp_path: Path) -> None:
    """Each integer may be as large, but two in a row make tensors of more bytes than 63 bits can count."""
    cls, count = codec_class(name), network_integers(name)
    strides = 2  # the position of the number of strides, which would move all others
    for start in range(count - 1):
        changes = {place: MOST - 1 for place in range(start, min(start + 6, count)) if place != strides}
        assert outcome(cls, with_network(name, changes), tmp_path) in ("refused", "decoded")


@pytest.mark.parametrize("name", golden.INR)
@pytest.mark.parametrize("value", [MOST_LAYERS - 1, MOST - 1])
def test_no_single_integer_takes_long(name: str, value: int, tmp_path: Path) -> None:
    """Among them are numbers of layers, each of which takes time to build, and channels that have context models."""
    for place in range(network_integers(name)):
        start = time.process_time()
        outcome(codec_class(name), with_network(name, {place: value}), tmp_path)
        assert time.process_time() - start < LONGEST, place


@pytest.mark.parametrize("name", golden.INR)
def test_sections_of_any_length_are_refused_or_decoded(name: str, tmp_path: Path) -> None:
    """Entropy-coded symbols may decode to others; sections of numbers of a fixed size have one length alone."""
    sections, cls = golden_sections(name), codec_class(name)
    for section, data in sections.items():
        lengths = {0, 1, 2, 3, len(data) // 2, *range(len(data) - 5, len(data))}
        resized = [data[:length] for length in lengths if 0 <= length < len(data)]
        resized += [data + bytes(extra) for extra in range(1, 5)]
        outcomes = {outcome(cls, {**sections, section: other}, tmp_path) for other in resized}
        assert section not in FIXED or outcomes == {"refused"}, section
