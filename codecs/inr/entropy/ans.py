"""Entropy coding of integer symbols with `constriction`: arithmetic (asymmetric numeral systems) or Huffman.

The table travels as integers; both sides derive the same probabilities from them by one division, so any machine
decodes the same symbols.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import constriction
import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, unpack_integers

Symbols = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Encode = Callable[[Symbols, int], tuple[bytes, bytes]]
Decode = Callable[[bytes, bytes, int, int], Symbols]
PRECISION = 1 << 16
"""Counts are scaled to about this total before they travel."""


DAMAGED = "The bitstream's weights do not fit their table; encode the clip again."


def make_table(symbols: Symbols, alphabet: int) -> Counts:
    """Scaled counts of the symbols 0 to alphabet - 1; what occurs has at least 1."""
    counts = np.bincount(symbols, minlength=alphabet)
    shares = np.rint(counts * (PRECISION / max(1, symbols.size)))
    table: Counts = np.where(counts > 0, np.maximum(1, shares), 0).astype(np.int64)
    return table


def read_table(data: bytes, count: int, alphabet: int) -> Counts:
    """The counts that travelled. Raises BitstreamError."""
    table = np.array(unpack_integers(data), dtype=np.int64)
    if table.size != alphabet or table.any() != (count > 0) or (table > 2 * PRECISION).any():
        raise BitstreamError("The bitstream's probability table is damaged; encode the clip again.")
    return table


def encode_arithmetic(symbols: Symbols, alphabet: int) -> tuple[bytes, bytes]:
    """The table and the payload for symbols 0 to alphabet - 1."""
    table = make_table(symbols, alphabet)
    used = np.flatnonzero(table)
    if used.size < 2:  # nothing to tell apart
        return pack_integers(table.tolist()), b""
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(np.searchsorted(used, symbols).astype(np.int32), _model(table[used]))
    return pack_integers(table.tolist()), coder.get_compressed().astype("<u4").tobytes()


def decode_arithmetic(table: bytes, payload: bytes, count: int, alphabet: int) -> Symbols:
    """The `count` symbols that `encode_arithmetic` wrote. Raises BitstreamError."""
    counts = read_table(table, count, alphabet)
    used = np.flatnonzero(counts)
    if used.size < 2:
        return _constant(used, payload, count)
    words = _words(payload)
    if words.size == 0 or words[-1] == 0:  # a zero at the end is never written
        raise BitstreamError(DAMAGED)
    coder = constriction.stream.stack.AnsCoder(words)
    ranks = coder.decode(_model(counts[used]), count)
    if not coder.is_empty():
        raise BitstreamError(DAMAGED)
    symbols: Symbols = used[ranks].astype(np.int32)
    return symbols


def _model(counts: Counts) -> constriction.stream.model.Categorical:
    return constriction.stream.model.Categorical(_shares(counts), perfect=False)


def encode_huffman(symbols: Symbols, alphabet: int) -> tuple[bytes, bytes]:
    """As `encode_arithmetic`, with the code that NeRV's paper uses: whole bits for each symbol."""
    table = make_table(symbols, alphabet)
    used = np.flatnonzero(table)
    if used.size < 2:
        return pack_integers(table.tolist()), b""
    book = constriction.symbol.huffman.EncoderHuffmanTree(_shares(table[used]))
    coder = constriction.symbol.QueueEncoder()
    for rank in np.searchsorted(used, symbols).tolist():
        coder.encode_symbol(rank, book)
    words, _ = coder.get_compressed()
    return pack_integers(table.tolist()), words.astype("<u4").tobytes()


def decode_huffman(table: bytes, payload: bytes, count: int, alphabet: int) -> Symbols:
    """The `count` symbols that `encode_huffman` wrote. Raises BitstreamError."""
    counts = read_table(table, count, alphabet)
    used = np.flatnonzero(counts)
    if used.size < 2:
        return _constant(used, payload, count)
    book = constriction.symbol.huffman.DecoderHuffmanTree(_shares(counts[used]))
    coder = constriction.symbol.QueueDecoder(_words(payload))
    try:
        ranks = [coder.decode_symbol(book) for _ in range(count)]
    except ValueError as error:
        raise BitstreamError(DAMAGED) from error
    symbols: Symbols = used[ranks].astype(np.int32)
    return symbols


def _shares(counts: Counts) -> npt.NDArray[np.float64]:
    return counts.astype(np.float64) / float(counts.sum())


def _constant(used: npt.NDArray[np.intp], payload: bytes, count: int) -> Symbols:
    if payload:
        raise BitstreamError(DAMAGED)
    return np.full(count, used[0] if used.size else 0, dtype=np.int32)


def _words(payload: bytes) -> npt.NDArray[np.uint32]:
    if len(payload) % 4:
        raise BitstreamError(DAMAGED)
    return np.frombuffer(payload, "<u4").astype(np.uint32)


CODERS: Mapping[str, tuple[Encode, Decode]] = MappingProxyType(
    {"arithmetic": (encode_arithmetic, decode_arithmetic), "huffman": (encode_huffman, decode_huffman)}
)
"""By the name that settings use; a bitstream holds the place in this order."""
