"""Coding of integers, each under its own Laplace distribution, with the same probabilities on any machine.

A Laplace distribution, integrated over units, is geometric on either side of the unit that holds its location. So an
integer is coded as the side on which it lies of that unit, three symbols, and its distance beyond, in digits of base
16. Every distance has a code, so there are no escapes; and no tables, so a location or scale is not rounded.

A value far out in the tail would take hundreds of bits. Therefore the distribution is mixed with one of rare values,
which takes OUTLIER on either side: a value that the Laplace distribution does not expect takes about 14 bits or more.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError, RdbenchError

from .ans import DAMAGED_SYMBOLS, AnsDecoder, AnsEncoder
from .exact import Floats, exact_exp
from .scale_tables import Integers

LARGEST = (1 << 15) - 1
"""Largest magnitude of a coded integer."""
BASE = 16
"""Symbols of a digit."""
DIGITS = 4
"""Digits of a distance beyond the first BASE - 1; with these, all integers up to LARGEST have a code."""
LEAST_EXPONENT = -60.0
"""Exponents are cut here; the coder gives every symbol a probability of at least 2^-24."""
OUTLIER = 2.0**-13
"""Probability of a rare value on one side (our choice: of C3's latents after short trainings, 0.04 to 0.07 % are rare),
for which every other value takes 4e-4 bit more."""
RARE_FIRST = np.append(1.0 / (np.arange(1.0, BASE) * np.arange(2.0, BASE + 1)), 1.0 / BASE)
"""Distribution of a rare value's distance, as of `first_digit`: P(k) = 1 / ((k + 1) (k + 2))."""
RARE_LATER = np.full((DIGITS, BASE), 1.0 / BASE)
RARE_LATER[1:] = 1.0 / (BASE * (BASE - 1))
RARE_LATER[1:, 0] = 1.0 - 1.0 / BASE
"""Distributions of a rare value's digits, from the lowest."""


@dataclass(frozen=True)
class Sides:
    """What is known of integers before they are coded, `[n]` each."""

    center: Integers
    """The integer nearest to each location."""
    below: Floats
    """Probability under the Laplace distribution of all integers below the center."""
    above: Floats

    @classmethod
    def of(cls, location: Floats, scale: Floats) -> "Sides":
        """Those of Laplace distributions."""
        center = np.rint(np.clip(location, -LARGEST, LARGEST))
        offset = np.clip(location - center, -0.5, 0.5)
        below = 0.5 * exact_exp(np.maximum((-0.5 - offset) / scale, LEAST_EXPONENT))
        above = 0.5 * exact_exp(np.maximum((offset - 0.5) / scale, LEAST_EXPONENT))
        return cls(center.astype(np.int64), below, above)

    @property
    def probabilities(self) -> Floats:
        """Probabilities of an integer below the center, of the center, and of one above, `[n, 3]`."""
        middle = np.maximum(1.0 - self.below - self.above - 2 * OUTLIER, OUTLIER)
        return np.stack([self.below + OUTLIER, middle, self.above + OUTLIER], axis=1)

    def distances(self, side: Integers, scale: Floats) -> tuple[npt.NDArray[np.intp], "Distances"]:
        """The integers that lie beside their center (`side` is -1 or 1), and the model of their distances."""
        outside = np.flatnonzero(side)
        mass = np.where(side[outside] < 0, self.below[outside], self.above[outside])
        ratio = exact_exp(np.maximum(-1.0 / scale[outside], LEAST_EXPONENT))
        return outside, Distances(ratio, mass / (mass + OUTLIER))


@dataclass(frozen=True)
class Distances:
    """The model of distances beyond the nearest integer of a side: geometric, mixed with rare values, `[n]` each."""

    ratio: Floats
    """Probability of a distance relative to that of the distance before."""
    share: Floats
    """Share of the geometric distribution in the mixture."""

    def first_digit(self) -> Floats:
        """Probabilities of the distances 0 to BASE - 2, and of all larger ones, `[n, BASE]`."""
        powers = _powers(self.ratio)
        powers[:, :-1] *= (1.0 - self.ratio)[:, None]
        return _mixed(powers, RARE_FIRST, self.share)

    def beyond(self, far: npt.NDArray[np.intp]) -> "Distances":
        """The model of what is left of the distances that the first digit does not reach."""
        tail = self.share[far] * _powers(self.ratio[far])[:, -1]
        return Distances(self.ratio[far], tail / (tail + (1.0 - self.share[far]) * RARE_FIRST[-1] + 2.0**-80))

    def later_digit(self, digit: int) -> Floats:
        """Probabilities of the values of a digit, from the lowest, `[n, BASE]`."""
        ratio = self.ratio
        for _ in range(4 * digit):
            ratio = ratio * ratio
        powers = _powers(ratio)
        return _mixed(powers / _total(powers)[:, None], RARE_LATER[digit], self.share)


def _powers(ratio: Floats) -> Floats:
    """The powers 0 to BASE - 1 of each ratio, `[n, BASE]`."""
    powers = np.ones((len(ratio), BASE))
    for k in range(1, BASE):
        powers[:, k] = powers[:, k - 1] * ratio
    return powers


def _total(powers: Floats) -> Floats:
    """Sums of rows, in one order on every machine."""
    total = np.zeros(len(powers))
    for k in range(BASE):
        total = total + powers[:, k]
    return total


def _mixed(expected: Floats, rare: Floats, share: Floats) -> Floats:
    """Two distributions of BASE symbols, of which the first has this share."""
    mixed: Floats = expected * share[:, None] + rare * (1.0 - share)[:, None]
    return mixed


class LaplaceWriter:
    """Collects integers in the order in which they are read, and encodes them at the end."""

    def __init__(self) -> None:
        self._calls: list[tuple[Integers, Floats]] = []

    def add(self, values: Integers, location: Floats, scale: Floats) -> None:
        """Adds integers with the parameters of their distributions. Raises RdbenchError for one beyond LARGEST."""
        if values.size and np.abs(values).max() > LARGEST:
            raise RdbenchError("Training gave quantized values beyond all bounds; try another --seed or a lower lr.")
        sides = Sides.of(location, scale)
        offset = values - sides.center
        side = np.sign(offset)
        self._calls.append((side + 1, sides.probabilities))
        outside, model = sides.distances(side, scale)
        rest = np.abs(offset[outside]) - 1
        self._calls.append((np.minimum(rest, BASE - 1), model.first_digit()))
        far = np.flatnonzero(rest >= BASE - 1)
        rest, model = rest[far] - (BASE - 1), model.beyond(far)
        for digit in range(DIGITS if far.size else 0):
            self._calls.append((rest >> (4 * digit) & (BASE - 1), model.later_digit(digit)))

    @property
    def bits(self) -> float:
        """Bits that the integers take."""
        rows = [p[np.arange(len(symbols)), symbols] / p.sum(1) for symbols, p in self._calls if symbols.size]
        return -float(sum(np.log2(shares).sum() for shares in rows))

    def push_onto(self, encoder: AnsEncoder) -> None:
        """Adds all integers to a payload, which a reader reads before those of earlier calls."""
        for symbols, probabilities in reversed(self._calls):
            encoder.push_rows(symbols.astype(np.int32), probabilities)

    def finish(self) -> bytes:
        """A payload of these integers alone."""
        encoder = AnsEncoder()
        self.push_onto(encoder)
        return encoder.finish()


class LaplaceReader:
    """Reads what `LaplaceWriter` wrote, one or several of them, in one payload. Raises BitstreamError."""

    def __init__(self, payload: bytes) -> None:
        self._decoder = AnsDecoder(payload)

    def read(self, location: Floats, scale: Floats) -> Integers:
        """The next integers, given the parameters of their distributions."""
        sides = Sides.of(location, scale)
        side = self._decoder.pop_rows(sides.probabilities).astype(np.int64) - 1
        outside, model = sides.distances(side, scale)
        rest = self._decoder.pop_rows(model.first_digit()).astype(np.int64)
        far = np.flatnonzero(rest >= BASE - 1)
        model = model.beyond(far)
        for digit in range(DIGITS if far.size else 0):
            rest[far] += self._decoder.pop_rows(model.later_digit(digit)).astype(np.int64) << (4 * digit)
        side[outside] *= rest + 1
        values: Integers = sides.center + side
        if values.size and np.abs(values).max() > LARGEST:
            raise BitstreamError(DAMAGED_SYMBOLS)
        return values

    def finish(self) -> None:
        """Raises BitstreamError unless all that was written has been read."""
        self._decoder.finish()
