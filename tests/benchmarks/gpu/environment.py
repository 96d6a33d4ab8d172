"""A package folder for a machine where neither rdbench nor its dependencies are installed, and nothing can be fetched.

The folder has the carried wheels and a copy of this tree in the layout of rdbench's wheel. Processes that have it first
in PYTHONPATH need no installation, and the machine's own environment stays as it is.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
INSTALL = ("-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--upgrade", "--target")


def make_packages(folder: Path, wheels: Path | None) -> None:
    """Fills the folder. Raises RuntimeError, with pip's words, where a wheel cannot be installed here."""
    if wheels is not None:
        files = sorted(map(str, wheels.resolve().glob("*.whl")))
        command = [sys.executable, "-m", "pip", "install", *INSTALL, str(folder), *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not files or done.returncode:
            raise RuntimeError(f"The wheels in {wheels} cannot be installed: {done.stderr[-600:] or 'there are none'}")
    copy_tree(folder)


def copy_tree(folder: Path) -> None:
    """Copies the packages, compiled files included, and describes them by metadata as pip would."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    places = {"rdbench": "rdbench", **project["tool"]["setuptools"]["package-dir"]}
    for package, source in places.items():
        shutil.copytree(ROOT / source, folder.joinpath(*package.split(".")), dirs_exist_ok=True)
    about = project["project"]
    info = folder / f"{about['name']}-{about['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in points.items())])
        for group, points in about["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n\n".join(groups) + "\n")


def environment(folder: Path, threads: int) -> Mapping[str, str]:
    """The variables of all processes: the packages first, and nothing of a pytest that may run the kit."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads)}
    return {**kept, **own, "COLUMNS": "200"}
