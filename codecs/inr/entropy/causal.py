"""Causal context models behind one interface: what predicts values from those decoded before, on any machine alike.

A model says in which order its places are coded, and predicts the values of all lanes of a place at once from the
values of earlier places. Encoder and decoder walk through the places in the same way; they differ in where the values
come from. A prediction steers an entropy coder, so its arithmetic must be exact (`exact.py`).
"""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from .exact import Floats

Place = TypeVar("Place")


class CausalModel(Protocol[Place]):
    """A context model with a state, for one walk."""

    @property
    def places(self) -> Iterable[Place]:
        """The places in the order of coding."""
        ...

    def predict(self, place: Place) -> tuple[Floats, Floats]:
        """Location and scale of the distribution of every lane at this place, from the values put so far."""
        ...

    def put(self, place: Place, values: Floats) -> None:
        """Takes the values of the lanes, once they are coded."""
        ...


Visit = Callable[[Place, Floats, Floats], Floats]
"""Gets a place and the locations and scales of its lanes; codes their values and returns them."""


def walk(model: CausalModel[Place], visit: Visit[Place]) -> None:
    """Visits all places of a model in its order."""
    for place in model.places:
        location, scale = model.predict(place)
        model.put(place, visit(place, location, scale))
