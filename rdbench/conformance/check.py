"""What a check is, and how one is run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import RdbenchError
from .subject import ContractError, Subject

DESCRIPTION = 500
"""Characters of an unexpected error that are shown."""


class NotApplicable(Exception):
    """The contract asks nothing of this codec here; the message says why."""


@dataclass(frozen=True)
class Check:
    """One sentence of the contract."""

    name: str
    asks: str
    """What the contract asks, in one sentence."""
    where: str
    """Where it is written."""
    body: Callable[[Subject], None]
    """Raises ContractError with what the codec did instead, NotApplicable, or what the codec raises."""
    needs: tuple[str, ...] = ()
    """Checks without which this one has no meaning."""

    def run(self, subject: Subject) -> None:
        """Raises ContractError with the whole explanation, or NotApplicable."""
        try:
            self.body(subject)
        except NotApplicable:
            raise
        except ContractError as error:
            raise ContractError(self.explain(str(error), subject)) from error
        except (Exception, SystemExit) as error:
            kind = "" if isinstance(error, RdbenchError) else f"it raised {type(error).__name__}: "
            said = f"{kind}{' '.join(str(error).split())[:DESCRIPTION]}"
            raise ContractError(self.explain(said, subject)) from error

    def explain(self, found: str, subject: Subject) -> str:
        """The failure in three lines: what is asked, where, what happened."""
        return f"{self.name}: {self.asks}\n  written in: {self.where}\n  {subject.name}: {found}"


def check(where: str, needs: Sequence[str] = ()) -> Callable[[Callable[[Subject], None]], Check]:
    """Makes a check of a function: its name is the function's, what it asks the first line of its docstring."""

    def make(body: Callable[[Subject], None]) -> Check:
        return Check(body.__name__, (body.__doc__ or "").strip().split("\n")[0], where, body, tuple(needs))

    return make
