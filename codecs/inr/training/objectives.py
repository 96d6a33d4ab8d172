"""The rate objectives that `compression=` chooses from: the one place where another is added."""

from rdbench.errors import UsageError, did_you_mean

from .end_to_end import EndToEnd
from .rate_distortion import OWN, InrSettings, LagrangianRate, RateObjective

OBJECTIVES: tuple[type[RateObjective], ...] = (LagrangianRate, EndToEnd)


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
