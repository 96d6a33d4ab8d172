"""A schedule that reacts: the learning rate falls where the loss stops falling, and the best state is restored."""

from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State")


@dataclass(frozen=True)
class PlateauRule:
    """When the learning rate falls, and when training ends."""

    start: float
    """The first learning rate."""
    patience: int
    """Steps without improvement after which the rate falls."""
    factor: float
    """What it is then multiplied with, below 1."""
    stop: float
    """Training ends when the rate falls below this."""


class Plateau(Generic[State]):
    """The state of such a schedule, which keeps the best state."""

    def __init__(self, rule: PlateauRule, loss: float, best: State) -> None:
        """`loss` and `best`: where training begins."""
        self.rule, self.lr, self.loss, self.best, self.waited = rule, rule.start, loss, best, 0

    def observe(self, loss: float, state: State) -> None:
        """Takes the loss of a step and the state that has it, which is kept where the loss is the lowest so far."""
        if loss < self.loss:
            self.loss, self.best, self.waited = loss, state, 0
            return
        self.waited += 1
        if self.waited == self.rule.patience:
            self.lr, self.waited = self.lr * self.rule.factor, 0

    @property
    def ended(self) -> bool:
        """Whether the learning rate is below the rule's end."""
        return self.lr < self.rule.stop
