"""The folder of records that the tests of `rdbench verify` share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_y4m
from record_folders import X265


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, toy_site: Path) -> Path:
    """What another person's machine has: a folder of records of NeRV and x265, and one of a clip that is a file."""
    place = tmp_path_factory.mktemp("theirs")
    make_y4m(place / "small.y4m", 64, 48, 6)
    common = ("--preset", "tiny", "--threads", "1")
    bunny = ("--codecs", f"{X265},nerv", "--dataset", "bunny@160x90", "--frames", "4", "--rate-points", "1")
    file = ("--codecs", X265, "--dataset", str(place / "small.y4m"), "--rate-points", "crf42,crf22")
    for name, arguments in (("bunny", bunny), ("file", file)):
        done = subprocess.run(
            [sys.executable, "-m", "rdbench.cli", "run", *arguments, *common, "--out", name],
            cwd=place, env={**os.environ, "PYTHONPATH": str(toy_site)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    return place
