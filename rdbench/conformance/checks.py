"""All checks, in the order in which they are run, and their outcomes for one codec."""

from . import bitstreams, contract
from .check import Check, NotApplicable
from .subject import ContractError, Subject

CHECKS: tuple[Check, ...] = (
    contract.missing,
    contract.version,
    contract.settings,
    contract.rate_points,
    contract.rate_point,
    contract.estimates,
    bitstreams.encode,
    bitstreams.decode_sealed,
    bitstreams.same_frames_again,
    bitstreams.frames_as_described,
    bitstreams.random_access,
    bitstreams.ledger,
    bitstreams.signatures,
    bitstreams.same_bitstream_again,
    bitstreams.threads,
    bitstreams.seed,
    bitstreams.resume,
    bitstreams.damage,
    bitstreams.odd_clips,
)
"""Every check of the contract; what one needs stands before it."""
BY_NAME = {check.name: check for check in CHECKS}
Outcome = ContractError | NotApplicable | None
"""What a check found wrong, or why it does not apply; None where the codec does what is asked."""


class Outcomes:
    """The outcomes of the checks of one codec. Each check is run once, when it is asked for, after those it needs."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._found: dict[str, Outcome] = {}

    def of(self, name: str) -> Outcome:
        """The outcome of a check."""
        if name not in self._found:
            try:
                self._run(BY_NAME[name])
                self._found[name] = None
            except (ContractError, NotApplicable) as error:
                self._found[name] = error
        return self._found[name]

    def _run(self, check: Check) -> None:
        for needed in check.needs:
            if isinstance(self.of(needed), ContractError):
                raise NotApplicable(f"It needs {needed}, which does not hold.")
        if check.needs:
            contract.can_run(self.subject)
        check.run(self.subject)
