"""Entropy coding of integer symbols: asymmetric numeral systems (ANS) or Huffman codes.

The only module that uses `constriction`. A model is a table of integer frequencies, from which encoder and decoder
compute the same parts of CODER_TOTAL by single operations of float64, so any machine decodes the same symbols. With
`exact_rows` the coder gets these parts, and no version of it can round in another way.
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
Probabilities = npt.NDArray[np.float64]
Encode = Callable[[Symbols, int], tuple[bytes, bytes]]
Decode = Callable[[bytes, bytes, int, int], Symbols]
TABLE_TOTAL = 1 << 16
"""Approximate sum of the frequencies in a transmitted table."""
ROWS = constriction.stream.model.Categorical(perfect=False)
"""The family of models in which each symbol has its own probabilities, which the coder rounds to parts of 2^24."""
CODER_TOTAL = 1 << 24
"""Parts into which the coder divides probability 1."""
DAMAGED_SYMBOLS = "The bitstream's weights do not fit their table; encode the clip again."


class CoderModel:
    """Probabilities of the symbols 0 to n - 1, proportional to integer frequencies; a single symbol takes no bits."""

    __slots__ = ("categorical",)

    def __init__(self, frequencies: Counts) -> None:
        row = exact_rows(rounded_frequencies(frequencies)) if len(frequencies) > 1 else None
        self.categorical = constriction.stream.model.Categorical(row, perfect=False) if row is not None else None
        """The coder's own form of the model; None for a single symbol."""

    @classmethod
    def of_row(cls, row: Probabilities) -> "CoderModel":
        """The model that a row has in `push_rows`."""
        model = cls.__new__(cls)
        model.categorical = constriction.stream.model.Categorical(row, perfect=False)
        return model


class AnsEncoder:
    """Encodes symbols under any number of models into one payload; it is a stack, so the last call is decoded first."""

    def __init__(self) -> None:
        self._coder = constriction.stream.stack.AnsCoder()

    def push(self, symbols: Symbols, model: CoderModel) -> None:
        """Adds symbols that are decoded in their own order, and before those of earlier calls."""
        if model.categorical is not None and symbols.size:
            self._coder.encode_reverse(symbols, model.categorical)

    def push_rows(self, symbols: Symbols, probabilities: Probabilities) -> None:
        """Like `push`, where each symbol has probabilities of its own, a row of `[symbols, alphabet]`."""
        if symbols.size:
            self._coder.encode_reverse(symbols, ROWS, probabilities)

    def finish(self) -> bytes:
        """The payload: little-endian words of 32 bits."""
        return bytes(self._coder.get_compressed().astype("<u4").tobytes())


class AnsDecoder:
    """Decodes a payload of `AnsEncoder`. Raises BitstreamError for one that it cannot have written."""

    def __init__(self, payload: bytes) -> None:
        words = _read_words(payload)
        if words.size and words[-1] == 0:  # the encoder never writes a zero at the end
            raise BitstreamError(DAMAGED_SYMBOLS)
        self._coder = constriction.stream.stack.AnsCoder(words)

    def pop(self, count: int, model: CoderModel) -> Symbols:
        """The next `count` symbols."""
        if model.categorical is None or not count:
            return np.zeros(count, np.int32)
        symbols: Symbols = self._coder.decode(model.categorical, count)
        return symbols

    def pop_rows(self, probabilities: Probabilities) -> Symbols:
        """The next symbols, which `push_rows` pushed with these probabilities."""
        if not len(probabilities):
            return np.zeros(0, np.int32)
        symbols: Symbols = self._coder.decode(ROWS, probabilities)
        return symbols

    def finish(self) -> None:
        """Raises BitstreamError unless the payload ends here."""
        if not self._coder.is_empty():
            raise BitstreamError(DAMAGED_SYMBOLS)


def rounded_frequencies(counts: Counts) -> Counts:
    """Frequencies of at least 1 that add up to CODER_TOTAL, in proportion to these, `[alphabet]`.

    They are those that `constriction` 0.5 makes of probabilities in floating point: sums in order, one division and one
    product. So files that were written with its own rounding stay as they are.
    """
    ends = np.cumsum(_probabilities(counts))
    shares = CODER_TOTAL - len(counts)
    starts = np.floor(ends[:-1] * (shares / ends[-1])).astype(np.int64)
    frequencies: Counts = 1 + np.diff(starts, prepend=0, append=shares)
    return frequencies


def coder_frequencies(counts: Counts) -> Counts:
    """Frequencies of at least 1 that add up to CODER_TOTAL, in proportion to rows of integers `[n, alphabet]`.

    What is left by rounding down goes to the most frequent symbol. Counts must add up to less than 2^39.
    """
    shares = CODER_TOTAL - counts.shape[1]
    frequencies: Counts = 1 + counts * shares // counts.sum(1, keepdims=True)
    frequencies[np.arange(len(counts)), counts.argmax(1)] += CODER_TOTAL - frequencies.sum(1)
    return frequencies


def exact_rows(frequencies: Counts) -> Probabilities:
    """Rows for `push_rows`, `pop_rows` and `CoderModel.of_row` with which the coder has just these frequencies.

    `constriction` gives each symbol one part of CODER_TOTAL, and divides the others in proportion to the numbers it
    gets. Here these are integers that add up to the number of other parts, so its factor is 1, and nothing is rounded.
    """
    return (frequencies - 1).astype(np.float64)


def make_table(symbols: Symbols, alphabet: int) -> Counts:
    """Frequencies of the symbols 0 to alphabet - 1, scaled to TABLE_TOTAL; at least 1 for a symbol that occurs."""
    counts = np.bincount(symbols, minlength=alphabet)
    shares = np.rint(counts * (TABLE_TOTAL / max(1, symbols.size)))
    table: Counts = np.where(counts > 0, np.maximum(1, shares), 0).astype(np.int64)
    return table


def read_table(data: bytes, count: int, alphabet: int) -> Counts:
    """The transmitted table of `count` symbols. Raises BitstreamError."""
    table = np.array(unpack_integers(data), dtype=np.int64)
    if table.size != alphabet or table.any() != (count > 0) or (table > 2 * TABLE_TOTAL).any():
        raise BitstreamError("The bitstream's probability table is damaged; encode the clip again.")
    return table


def encode_arithmetic(symbols: Symbols, alphabet: int) -> tuple[bytes, bytes]:
    """The table and the payload of symbols 0 to alphabet - 1."""
    table = make_table(symbols, alphabet)
    used = np.flatnonzero(table)
    encoder = AnsEncoder()
    encoder.push(np.searchsorted(used, symbols).astype(np.int32), CoderModel(table[used]))
    return pack_integers(table.tolist()), encoder.finish()


def decode_arithmetic(table: bytes, payload: bytes, count: int, alphabet: int) -> Symbols:
    """The `count` symbols that `encode_arithmetic` wrote. Raises BitstreamError."""
    counts = read_table(table, count, alphabet)
    used = np.flatnonzero(counts)
    if used.size < 2:
        return _constant(used, payload, count)
    if not payload:
        raise BitstreamError(DAMAGED_SYMBOLS)
    decoder = AnsDecoder(payload)
    ranks = decoder.pop(count, CoderModel(counts[used]))
    decoder.finish()
    symbols: Symbols = used[ranks].astype(np.int32)
    return symbols


def encode_huffman(symbols: Symbols, alphabet: int) -> tuple[bytes, bytes]:
    """Like `encode_arithmetic`, with the code of NeRV's paper: a whole number of bits for each symbol."""
    table = make_table(symbols, alphabet)
    used = np.flatnonzero(table)
    if used.size < 2:
        return pack_integers(table.tolist()), b""
    tree = constriction.symbol.huffman.EncoderHuffmanTree(_probabilities(table[used]))
    coder = constriction.symbol.QueueEncoder()
    for rank in np.searchsorted(used, symbols).tolist():
        coder.encode_symbol(rank, tree)
    words, _ = coder.get_compressed()
    return pack_integers(table.tolist()), words.astype("<u4").tobytes()


def decode_huffman(table: bytes, payload: bytes, count: int, alphabet: int) -> Symbols:
    """The `count` symbols that `encode_huffman` wrote. Raises BitstreamError."""
    counts = read_table(table, count, alphabet)
    used = np.flatnonzero(counts)
    if used.size < 2:
        return _constant(used, payload, count)
    tree = constriction.symbol.huffman.DecoderHuffmanTree(_probabilities(counts[used]))
    coder = constriction.symbol.QueueDecoder(_read_words(payload))
    try:
        ranks = [coder.decode_symbol(tree) for _ in range(count)]
    except ValueError as error:
        raise BitstreamError(DAMAGED_SYMBOLS) from error
    symbols: Symbols = used[ranks].astype(np.int32)
    return symbols


def _probabilities(frequencies: Counts) -> npt.NDArray[np.float64]:
    return frequencies.astype(np.float64) / float(frequencies.sum())


def _constant(used: npt.NDArray[np.intp], payload: bytes, count: int) -> Symbols:
    """`count` times the only symbol in use, which takes no payload. Raises BitstreamError."""
    if payload:
        raise BitstreamError(DAMAGED_SYMBOLS)
    return np.full(count, used[0] if used.size else 0, dtype=np.int32)


def _read_words(payload: bytes) -> npt.NDArray[np.uint32]:
    if len(payload) % 4:
        raise BitstreamError(DAMAGED_SYMBOLS)
    return np.frombuffer(payload, "<u4").astype(np.uint32)


CODERS: Mapping[str, tuple[Encode, Decode]] = MappingProxyType(
    {"arithmetic": (encode_arithmetic, decode_arithmetic), "huffman": (encode_huffman, decode_huffman)}
)
"""Encoders and decoders by the name that settings use; a bitstream stores the position in this order."""
