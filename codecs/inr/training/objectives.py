"""The rate objectives that `compression=` chooses from: the one place where another is added."""

from rdbench.errors import BitstreamError, UsageError, did_you_mean

from ..compression.scheme import Scheme
from .end_to_end import EndToEnd
from .rate_distortion import OWN, InrSettings, LagrangianRate, RateObjective

OBJECTIVES: tuple[type[RateObjective], ...] = (LagrangianRate, EndToEnd)
OWN_SCHEME = 0
"""The number in a bitstream of the compression scheme of the codec's own paper."""


def objective_for(settings: InrSettings) -> RateObjective | None:
    """The objective that the settings choose; None for the compression of the codec's own paper. Raises UsageError."""
    known = {objective.name: objective for objective in OBJECTIVES}
    if settings.compression == OWN:
        return None
    if settings.compression not in known:
        raise UsageError(
            f"There is no compression {settings.compression!r}{did_you_mean(settings.compression, (OWN, *known))}"
        )
    return known[settings.compression].of(settings)


def scheme_number(objective: RateObjective | None) -> int:
    """The number of an objective's scheme in a bitstream."""
    return OWN_SCHEME if objective is None else objective.identifier


def scheme_class(number: int, own: type[Scheme]) -> type[Scheme]:
    """The scheme with this number, where `own` is that of the codec's paper. Raises BitstreamError."""
    schemes = {OWN_SCHEME: own, **{objective.identifier: objective.scheme for objective in OBJECTIVES}}
    if number not in schemes:
        raise BitstreamError(f"The bitstream's compression scheme {number} is unknown; update rdbench.")
    return schemes[number]
