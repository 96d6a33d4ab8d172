"""A second encoding gives the same bits, or is held against the other seeds."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from record_folders import X265, Values, copy, edit, folder_of, rows_of

from rdbench.report.results import Record, read_record
from rdbench.runner.sweep import digest
from rdbench.runner.verify.refit import hold_against_seeds

pytestmark = pytest.mark.xdist_group("verify")  # the folder is made once


def test_refit_of_a_conventional_codec_must_give_the_same_bits(made: Path, tmp_path: Path) -> None:
    honest = folder_of(made / "file", X265, "crf42")
    copy(honest, tmp_path / "honest")
    # the better rate point's bitstream and quality, passed off as those of crf42
    claim = json.loads((honest / "record.json").read_text())
    names = ("id", "identity", "settings", "rate_point")
    forged = shutil.copytree(folder_of(made / "file", X265, "crf22"), tmp_path / "forged" / honest.name)
    edit(forged, lambda values: values.update({name: claim[name] for name in names}))
    rows = rows_of(tmp_path, refit=2)
    assert (rows["honest"].result, rows["honest"].notes) == ("holds", "refit: the same bitstream")
    assert rows["forged"].result == "does not hold"
    assert rows["forged"].notes.startswith("refit: another bitstream")


def test_refit_needs_the_same_version_of_the_codec(made: Path, tmp_path: Path) -> None:
    def other_version(values: Values) -> None:
        values["versions"]["codec"] = values["identity"]["version"] = "libx265 1.0 00000000"
        values["id"] = digest(values["identity"])

    folder = copy(folder_of(made / "file", X265), tmp_path / "other", other_version)
    name = f"crf42-{json.loads((folder / 'record.json').read_text())['id']}"
    folder.rename(folder.with_name(name))
    row = rows_of(tmp_path, refit=1)["other"]
    assert row.result == "cannot be checked"
    assert row.notes.startswith("refit: made by version libx265 1.0 00000000, here is libx265")


def test_refit_of_a_trained_codec_is_held_against_the_other_seeds(made: Path) -> None:
    record = read_record(folder_of(made / "bunny", "nerv") / "record.json")

    def seeded(seed: int, psnr: float, bits: int, **more: Any) -> Record:
        identity = {**record.identity, "seed": seed, **more}
        return record.model_copy(update={"seed": seed, "psnr_rgb": psnr, "bits": bits, "identity": identity})

    others = [seeded(seed, 30 + seed / 10, 8000 + seed) for seed in (1, 2, 3)]
    strangers = [seeded(seed, 50.0, 1, frames=99) for seed in (4, 5, 6)]  # another curve
    # mean 30.2, s 0.1, t(0.975, 2) = 4.3027, times sqrt(4/3): 29.703 to 30.697; bits: 7997.03 to 8006.97
    for psnr, bits, expected in ((30.69, 8006, {None}), (30.70, 8006, {None, "does not hold"}),
                                 (29.70, 8007, {"does not hold"})):  # fmt: skip
        again = {"psnr_rgb": psnr, "bits": bits}
        assert {f.result for f in hold_against_seeds(record, again, [record, *others, *strangers])} == expected
    few = list(hold_against_seeds(record, {"psnr_rgb": 30.0, "bits": 8000}, [record, others[0], *strangers]))
    assert {f.result for f in few} == {"cannot be checked"}
    assert "1 other seeds are too few" in few[0].text
