"""The pytest plugin: `pytest --rdbench-codec NAME` checks a codec against the contract.

It is loaded with every pytest of an environment that has rdbench, so nothing but pytest is imported before a codec is
named. Without a path on the command line only the codecs are checked; the contract comes beside the tests otherwise.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .check import Check
    from .checks import Outcomes
    from .subject import Subject

GUIDE = Path(__file__).resolve().parents[1] / "guides" / "codec.md"
"""The file that stands for the contract in pytest's collection: the guide that explains it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("rdbench", "rdbench: check video codecs against the contract of rdbench")
    group.addoption(
        "--rdbench-codec", action="append", default=[], metavar="CODEC",
        help="a codec to check, as on rdbench's command line: a name, a TOML file, with options in brackets",
    )  # fmt: skip
    group.addoption("--rdbench-clip", metavar="CLIP", help="the clip to code (default: bunny@160x90)")
    group.addoption("--rdbench-frames", type=int, metavar="N", help="its first frames (default: 4)")
    group.addoption("--rdbench-preset", metavar="PRESET", help="the codec's preset (default: tiny)")
    group.addoption("--rdbench-rate-point", metavar="LABEL", help="the rate point (default: the one of fewest bits)")


def pytest_configure(config: pytest.Config) -> None:
    """Puts the contract among what pytest collects, where a codec is named."""
    if not config.getoption("rdbench_codec") or str(GUIDE) in config.args:
        return
    explicit = config.args_source is pytest.Config.ArgsSource.ARGS
    config.args = [*(config.args if explicit else []), str(GUIDE)]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "Contract | None":
    """The contract, in place of the guide's file."""
    if file_path == GUIDE and parent.config.getoption("rdbench_codec"):
        return Contract.from_parent(parent, path=file_path, nodeid="contract")
    return None


class Contract(pytest.File):
    """All codecs that are to be checked."""

    def collect(self) -> "Iterator[CodecUnderTest]":
        """One collector for each codec."""
        for name in dict.fromkeys(self.config.getoption("rdbench_codec")):
            yield CodecUnderTest.from_parent(self, name=name)


class CodecUnderTest(pytest.Collector):
    """The checks of one codec; they share what it encodes."""

    outcomes: "Outcomes"

    def collect(self) -> "Iterator[CheckItem]":
        """One test for each check. Raises CollectError where there is no such codec or clip."""
        from ..errors import RdbenchError
        from .checks import CHECKS, Outcomes

        subject = self._make_subject()
        try:
            subject.open()
        except RdbenchError as error:
            raise self.CollectError(str(error)) from error
        self.outcomes = Outcomes(subject)
        for check in CHECKS:
            yield CheckItem.from_parent(self, name=check.name, check=check)

    def _make_subject(self) -> "Subject":
        """The codec with its clip, which all checks share."""
        import tempfile

        from . import subject

        scratch = tempfile.TemporaryDirectory(prefix="rdbench-contract-")
        self.config.add_cleanup(scratch.cleanup)
        option = self.config.getoption
        return subject.Subject(
            self.name, Path(scratch.name).resolve(), option("rdbench_clip") or subject.CLIP,
            option("rdbench_frames") or subject.FRAMES, option("rdbench_preset") or subject.PRESET,
            option("rdbench_rate_point"),
        )  # fmt: skip


class CheckItem(pytest.Item):
    """One check of one codec."""

    parent: CodecUnderTest

    def __init__(self, check: "Check", **more: Any) -> None:
        super().__init__(**more)
        self.check = check
        self.add_marker(pytest.mark.xdist_group(f"rdbench-{self.parent.name}"))

    def runtest(self) -> None:
        """Runs the check, unless one that it needs has failed."""
        from .check import NotApplicable

        found = self.parent.outcomes.of(self.check.name)
        if isinstance(found, NotApplicable):
            pytest.skip(str(found))
        if found is not None:
            raise found

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The explanation, and the codec's own traceback where it raised something."""
        from .subject import ContractError

        if not isinstance(excinfo.value, ContractError):
            return super().repr_failure(excinfo, style)
        cause = excinfo.value.__cause__
        if cause is None or isinstance(cause, ContractError):
            return str(excinfo.value)
        import traceback

        return "".join([str(excinfo.value), "\n\n", *traceback.format_exception(cause)])

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where pytest shows it."""
        return GUIDE, None, f"{self.parent.name}: {self.name}"
