"""The command of `rdbench run --then`, which runs once everything is done and changes nothing of it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finished:
    """How a run ended, for the environment of the command."""

    out: Path
    """The output folder."""
    measured: int
    """Rate points with a finished record, those of earlier runs included."""
    failed: int
    """Rate points that failed."""
    seconds: float
    """Duration of the run."""

    @property
    def status(self) -> int:
        """The exit status of the run."""
        return 1 if self.failed else 0

    def environment(self) -> dict[str, str]:
        """The variables that the command gets besides those of the run itself."""
        return {
            "RDBENCH_OUT": str(self.out.absolute()), "RDBENCH_MEASURED": str(self.measured),
            "RDBENCH_FAILED": str(self.failed), "RDBENCH_STATUS": str(self.status),
            "RDBENCH_SECONDS": f"{self.seconds:.0f}",
        }  # fmt: skip


def run_then(command: str, finished: Finished) -> str:
    """Runs the command in a shell (`sh -c`), waits for it, and returns the line that says how it ended."""
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command], env={**os.environ, **finished.environment()}, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        return f"--then {command}: it cannot be run ({error})."
    ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
    return f"--then {command}: {ended}."
