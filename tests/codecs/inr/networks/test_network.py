"""Configurations as transmitted integers, and the count of multiply-accumulates."""

from dataclasses import dataclass
from types import MappingProxyType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rdbench.codecs.inr.networks.network import MOST, Network, NetworkConfig, Patches, UpsamplingConfig, count_macs
from rdbench.errors import BitstreamError


@dataclass(frozen=True)
class Example(UpsamplingConfig):
    width: int
    frames: int = 1
    kind: int = 0
    marks: tuple[int, ...] = ()

    choices = MappingProxyType({"kind": 3})
    limits = MappingProxyType({"frames": 1 << 20, "marks": 1 << 20})
    lists = MappingProxyType({**UpsamplingConfig.lists, "marks": (0, 4)})


EXAMPLE = Example(2, 3, (5, 2), 7, 100_000, 2, (4, 90_000))


def test_integers_are_the_fields_in_order_with_each_tuple_after_its_length() -> None:
    assert EXAMPLE.numbers() == [2, 3, 2, 5, 2, 7, 100_000, 2, 2, 4, 90_000]
    assert Example.from_numbers(EXAMPLE.numbers()) == EXAMPLE
    assert EXAMPLE.patch_size == (20, 30)


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, 0), (1, MOST), (2, 0), (2, 9), (3, 0), (5, MOST), (6, 1 << 20), (7, 3), (8, 5), (8, 1), (9, 0)],
)
def test_numbers_out_of_range_are_rejected(position: int, value: int) -> None:
    numbers = EXAMPLE.numbers()
    numbers[position] = value
    with pytest.raises(BitstreamError):
        Example.from_numbers(numbers)


@given(st.lists(st.integers(0, 1 << 40), max_size=14))
def test_any_integers_are_a_configuration_or_rejected(numbers: list[int]) -> None:
    try:
        config = Example.from_numbers(numbers)
    except BitstreamError:
        return
    assert config.numbers() == numbers


def test_a_configuration_needs_no_strides() -> None:
    @dataclass(frozen=True)
    class Plain(NetworkConfig):
        width: int

    assert Plain.from_numbers([5]) == Plain(5)
    assert Plain(5).step == 1


class Layers(Network):
    """One layer of each kind that multiplies."""

    def __init__(self) -> None:
        super().__init__((8, 8))
        self.plain, self.grouped = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.deep, self.up = nn.Conv3d(6, 2, 3, padding=1), nn.ConvTranspose2d(6, 3, 2, stride=2)
        self.line = nn.Linear(6, 5)

    def forward(self, at: Patches) -> Tensor:
        x = self.grouped(self.plain(torch.zeros(len(at.frames), 4, 4, 4, device=at.frames.device)))
        self.deep(x[:, :, None].expand(-1, -1, 2, -1, -1))
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        self.line(tokens)
        return self.up(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("frames", [1, 3])
def test_multiply_accumulates_are_counted_as_by_hand(device: str, frames: int) -> None:
    cells = 4 * 4
    convolutions = cells * (9 * 4 * 6 + 9 * 6 * 2) + 2 * cells * 27 * 6 * 2 + cells * 6 * 3 * 4
    attention = 2 * cells * cells * 6
    assert count_macs(Layers().to(device), frames) == frames * (convolutions + attention + cells * 6 * 5)
