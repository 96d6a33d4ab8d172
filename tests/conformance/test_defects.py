"""A defect of each kind makes the check that names it fail, and no other."""

from collections.abc import Callable
from pathlib import Path

import contract_toy
import pytest
from conftest import make_y4m
from contract_toy import DEFECTS, install_toy

from rdbench.conformance.check import NotApplicable
from rdbench.conformance.checks import BY_NAME, CHECKS, Outcomes
from rdbench.conformance.subject import ContractError, Subject
from rdbench.errors import UsageError

Toys = Callable[[str | None], Outcomes]
SAYINGS = ("missing", "version", "settings", "rate_points", "rate_point", "estimates")
"""Checks of what a codec says of itself, which code nothing."""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toys:
    """Installs the toy with a defect, for processes of its own too, and gives the outcomes on a clip of four frames."""
    site, folder = tmp_path / "site", tmp_path / "contract"
    site.mkdir()
    folder.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    clip = make_y4m(tmp_path / "clip.y4m", 32, 24, 4)

    def outcomes(defect: str | None) -> Outcomes:
        install_toy(site, defect)
        return Outcomes(Subject("toy", folder, clip=str(clip)))

    return outcomes


def failed(found: Outcomes) -> set[str]:
    return {check.name for check in CHECKS if isinstance(found.of(check.name), ContractError)}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_makes_its_check_fail_and_no_other(name: str, toy: Toys) -> None:
    found = toy(name)
    assert failed(found) == {name}
    message = str(found.of(name))
    assert message.startswith(f"{name}: {BY_NAME[name].asks}\n  written in: {BY_NAME[name].where}\n")


def test_a_codec_that_keeps_the_contract_passes_every_check(toy: Toys) -> None:
    found = toy(None)
    assert {check.name: found.of(check.name) for check in CHECKS} == dict.fromkeys(BY_NAME)


def test_there_is_a_defect_for_every_check() -> None:
    assert set(DEFECTS) == set(BY_NAME)


def test_what_an_encoder_says_is_asked_without_encoding(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract_toy.Toy, "encode", None)
    found = toy(None)
    assert [found.of(name) for name in SAYINGS] == [None] * len(SAYINGS)


def test_a_check_that_needs_a_failed_one_does_not_apply(toy: Toys) -> None:
    found = toy("rate_points").of("encode")
    assert isinstance(found, NotApplicable)
    assert str(found) == "It needs rate_points, which does not hold."


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean x26"):
        Subject("x26", tmp_path).open()
