"""The presets of an INR codec, which differ in how long and by which recipe a network is trained."""

from collections.abc import Mapping
from types import MappingProxyType

from rdbench.codec import Value

NO_CHANGES: Mapping[str, Value] = MappingProxyType({})


def presets_of(
    quick: Mapping[str, Value], tiny: Mapping[str, Value], best: Mapping[str, Value] = NO_CHANGES
) -> Mapping[str, Mapping[str, Value]]:
    """All presets of a codec.

    `paper`: the defaults, which are the paper's recipe. `quick`: that recipe with some seventy epochs. `best`: our
    recipe, what gave the best quality at the seconds and bits of `quick`; `best` holds what it changes there, nothing
    where nothing that was tried is better. `tiny`: a training of seconds, for tests.
    """
    return MappingProxyType({"paper": {}, "quick": quick, "best": {**quick, **best}, "tiny": tiny})
