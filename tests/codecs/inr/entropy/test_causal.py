"""The walk through a causal model."""

import numpy as np

from rdbench.codecs.inr.entropy.causal import walk
from rdbench.codecs.inr.entropy.exact import Floats
from rdbench.codecs.inr.entropy.laplace import LaplaceReader, LaplaceWriter


class RunningMean:
    """Predicts every column of a table from the one before."""

    def __init__(self, columns: int, lanes: int) -> None:
        self.places = range(columns)
        self._last = np.zeros(lanes)

    def predict(self, place: int) -> tuple[Floats, Floats]:
        return self._last / 2, np.full(len(self._last), 1.0 + place)

    def put(self, place: int, values: Floats) -> None:
        self._last = values


def test_a_decoder_walks_as_the_encoder_did() -> None:
    table = np.random.default_rng(0).integers(-9, 10, (6, 50))
    writer = LaplaceWriter()

    def encode(place: int, location: Floats, scale: Floats) -> Floats:
        writer.add(table[place], location, scale)
        return table[place].astype(np.float64)

    walk(RunningMean(*table.shape), encode)
    reader, decoded = LaplaceReader(writer.finish()), []

    def decode(_place: int, location: Floats, scale: Floats) -> Floats:
        decoded.append(reader.read(location, scale))
        return decoded[-1].astype(np.float64)

    walk(RunningMean(*table.shape), decode)
    reader.finish()
    assert np.array_equal(decoded, table)
