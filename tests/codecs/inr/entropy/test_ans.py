"""The coders: symbols return, lone symbols are free, and damage is refused."""

from itertools import pairwise

import numpy as np
import pytest

from rdbench.codecs.inr.entropy.ans import (
    CODERS,
    AnsDecoder,
    AnsEncoder,
    CoderModel,
    Counts,
    coder_frequencies,
    exact_rows,
    rounded_frequencies,
)
from rdbench.codecs.inr.entropy.integers import unzigzag, zigzag
from rdbench.errors import BitstreamError

WIDE, SINGLE = CoderModel(np.array([5, 3, 0, 1])), CoderModel(np.array([7]))


def test_zigzag_numbers_all_integers() -> None:
    assert [zigzag(value) for value in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]
    assert [unzigzag(zigzag(value)) for value in range(-300, 300)] == list(range(-300, 300))


def test_the_last_push_is_decoded_first() -> None:
    encoder = AnsEncoder()
    first, second = np.array([0, 3, 1, 0], np.int32), np.array([1, 1, 0], np.int32)
    for symbols, model in ((second, WIDE), (np.zeros(9, np.int32), SINGLE), (first, WIDE)):
        encoder.push(symbols, model)
    decoder = AnsDecoder(encoder.finish())
    assert decoder.pop(4, WIDE).tolist() == first.tolist()
    assert decoder.pop(9, SINGLE).tolist() == [0] * 9
    assert decoder.pop(3, WIDE).tolist() == second.tolist()
    decoder.finish()


def asymmetric_numerals(symbols: list[int], frequencies: Counts) -> bytes:
    """The coder in whole numbers: a state of 64 bits, words of 32, frequencies in parts of 2^24."""
    state, words = 0, []
    for symbol, row in zip(reversed(symbols), reversed(frequencies.tolist()), strict=True):
        if state >> (64 - 24) >= row[symbol]:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        quotient, rest = divmod(state, row[symbol])
        state = (quotient << 24) + sum(row[:symbol]) + rest
    while state:
        words.append(state & 0xFFFFFFFF)
        state >>= 32
    return np.array(words, "<u4").tobytes()


def test_the_coder_has_exactly_the_integer_frequencies_that_it_gets() -> None:
    """So that no version of it can round them in another way."""
    rng = np.random.default_rng(0)
    counts = np.exp(rng.uniform(0, np.log(1 << 20), (500, 12))).astype(np.int64)
    counts[::3, 4:] = 1
    frequencies = coder_frequencies(counts)
    assert (frequencies.sum(1) == 1 << 24).all()
    assert frequencies.min() >= 1
    wanted = counts / counts.sum(1, keepdims=True) * 2**24
    assert (np.abs(frequencies - wanted) < 30 + 1e-6 * wanted).all()
    symbols = rng.integers(0, 12, 500).astype(np.int32)
    rows, encoder = exact_rows(frequencies), AnsEncoder()
    encoder.push_rows(symbols, rows)
    payload = encoder.finish()
    assert payload == asymmetric_numerals(symbols.tolist(), frequencies)
    assert np.array_equal(AnsDecoder(payload).pop_rows(rows), symbols)
    single = AnsEncoder()
    single.push(symbols, CoderModel.of_row(rows[1]))
    assert single.finish() == asymmetric_numerals(symbols.tolist(), np.tile(frequencies[1], (500, 1)))


def test_a_model_has_the_parts_at_which_its_cumulative_frequencies_are_rounded_down() -> None:
    counts = np.array([5, 3, 0, 1])
    starts = [((1 << 24) - 4) * part // 9 + symbol for symbol, part in enumerate((0, 5, 8, 8))]
    assert rounded_frequencies(counts).tolist() == [b - a for a, b in pairwise([*starts, 1 << 24])]
    rng = np.random.default_rng(1)
    for alphabet in (2, 17, 300):
        counts = rng.integers(0, 9, alphabet) ** 4 + (np.arange(alphabet) == 1)
        symbols = rng.integers(0, alphabet, 400).astype(np.int32)
        encoder = AnsEncoder()
        encoder.push(symbols, CoderModel(counts))
        assert encoder.finish() == asymmetric_numerals(symbols.tolist(), np.tile(rounded_frequencies(counts), (400, 1)))


def test_a_single_symbol_takes_no_bits() -> None:
    encoder = AnsEncoder()
    encoder.push(np.zeros(1000, np.int32), SINGLE)
    assert encoder.finish() == b""


def test_payloads_that_no_encoder_writes_are_refused() -> None:
    for payload in (b"\1", b"\1\0\0", b"\1\0\0\0\0\0\0\0"):
        with pytest.raises(BitstreamError):
            AnsDecoder(payload)
    encoder = AnsEncoder()
    encoder.push(np.array([3, 1, 3], np.int32), WIDE)
    decoder = AnsDecoder(encoder.finish())
    decoder.pop(2, WIDE)
    with pytest.raises(BitstreamError):
        decoder.finish()


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("used", [[], [4], [0, 4], [1, 2, 5]])
def test_symbols_return(coder: str, used: list[int]) -> None:
    encode, decode = CODERS[coder]
    symbols = np.random.default_rng(0).choice(used, 200).astype(np.int32) if used else np.zeros(0, np.int32)
    table, payload = encode(symbols, 6)
    assert decode(table, payload, len(symbols), 6).tolist() == symbols.tolist()
    assert (len(payload) > 0) == (len(used) > 1)
    for bad in (payload + b"\0", b"" if payload else b"\1\0\0\0"):
        with pytest.raises(BitstreamError):
            decode(table, bad, len(symbols), 6)
    with pytest.raises(BitstreamError):
        decode(table[:-1], payload, len(symbols), 6)
