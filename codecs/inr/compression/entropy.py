"""Entropy coding of integer symbols with `constriction` (range asymmetric numeral systems).

The table travels as integers; both sides derive the same float64 probabilities from them by one division, so any
machine decodes the same symbols.
"""

import constriction
import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from ..stream import pack_integers, unpack_integers

Symbols = npt.NDArray[np.int32]
PRECISION = 1 << 16
"""Counts are scaled to about this total before they travel."""


def encode_symbols(symbols: Symbols, alphabet: int) -> tuple[bytes, bytes]:
    """The table and the payload for symbols 0 to alphabet - 1."""
    counts = np.bincount(symbols, minlength=alphabet)
    shares = np.rint(counts * (PRECISION / max(1, symbols.size)))
    scaled = np.where(counts > 0, np.maximum(1, shares), 0).astype(np.int64)
    used = np.flatnonzero(scaled)
    table = pack_integers([int(value) for value in scaled])
    if used.size < 2:  # nothing to tell apart
        return table, b""
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(np.searchsorted(used, symbols).astype(np.int32), _model(scaled[used]))
    return table, coder.get_compressed().astype("<u4").tobytes()


def decode_symbols(table: bytes, payload: bytes, count: int, alphabet: int) -> Symbols:
    """The `count` symbols that `encode_symbols` wrote. Raises BitstreamError."""
    scaled = np.array(unpack_integers(table), dtype=np.int64)
    used = np.flatnonzero(scaled)
    if scaled.size != alphabet or (used.size == 0) != (count == 0) or (scaled > 2 * PRECISION).any():
        raise BitstreamError("The bitstream's probability table is damaged; encode the clip again.")
    if used.size < 2 and not payload:
        return np.full(count, used[0] if used.size else 0, dtype=np.int32)
    words = np.frombuffer(payload[: len(payload) // 4 * 4], "<u4").astype(np.uint32)
    if used.size < 2 or len(payload) % 4 or words.size == 0 or words[-1] == 0:  # a zero at the end is never written
        raise BitstreamError("The bitstream's weights do not fit their table; encode the clip again.")
    coder = constriction.stream.stack.AnsCoder(words)
    ranks = coder.decode(_model(scaled[used]), count)
    if not coder.is_empty():
        raise BitstreamError("The bitstream's weights do not end where they should; encode the clip again.")
    symbols: Symbols = used[ranks].astype(np.int32)
    return symbols


def _model(counts: npt.NDArray[np.int64]) -> constriction.stream.model.Categorical:
    return constriction.stream.model.Categorical(counts.astype(np.float64) / float(counts.sum()), perfect=False)
