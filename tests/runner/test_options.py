"""Seeds and threads, from the command line and from a sweep file to the sweep."""

from pathlib import Path

import pytest

from rdbench.errors import UsageError
from rdbench.runner.options import SweepOptions, read_sweep

BASIC = SweepOptions(codecs="nerv", dataset="bunny")


@pytest.mark.parametrize(
    ("seed", "seeds", "expected"),
    [(None, None, (0,)), (4, None, (4,)), (None, "0,1,2", (0, 1, 2)), (None, " 3, 1,3", (3, 1))],
)
def test_seeds(seed: int | None, seeds: str | None, expected: tuple[int, ...]) -> None:
    assert BASIC.model_copy(update={"seed": seed, "seeds": seeds}).sweep(1).seeds == expected


@pytest.mark.parametrize(("seed", "seeds"), [(None, "0;1"), (None, ""), (None, "-1"), (None, "1.5"), (0, "0,1")])
def test_wrong_seeds_are_refused(seed: int | None, seeds: str | None) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        BASIC.model_copy(update={"seed": seed, "seeds": seeds}).sweep(1)


@pytest.mark.parametrize("line", ["seeds = [0, 1, 2]", 'seeds = "0,1,2"'])
def test_a_sweep_file_has_seeds_and_the_command_line_replaces_them(tmp_path: Path, line: str) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(f'codecs = "nerv"\ndataset = "bunny"\n{line}\n')
    kept = read_sweep(path)
    assert kept.sweep(1).seeds == (0, 1, 2)
    assert SweepOptions(seed=7).over(kept).sweep(1).seeds == (7,)
    assert SweepOptions(seeds="8,9").over(kept).sweep(1).seeds == (8, 9)


def test_the_sweep_knows_whether_threads_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdbench.runner.options.usable_cores", lambda: 8)
    default, given = BASIC.sweep(4), BASIC.model_copy(update={"threads": 3}).sweep(4)
    assert (default.threads, default.threads_given, default.jobs) == (2, False, 4)
    assert (given.threads, given.threads_given) == (3, True)
    assert BASIC.model_copy(update={"executor": "ray"}).sweep(4).jobs is None
