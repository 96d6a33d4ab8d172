"""One hash for several files, cached on disk for each state of a file."""

import hashlib
from pathlib import Path

import platformdirs
import pytest

from rdbench.codecs.programs.program_digest import program_digest


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_contents_and_order_decide(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"first program")
    other.write_bytes(b"second")
    both = sha256((sha256(b"first program") + sha256(b"second")).encode())[:8]
    assert program_digest([one, str(other)]) == both
    assert program_digest([other, one]) != both
    other.write_bytes(b"second, another build")
    assert program_digest([one, other]) not in (both, program_digest([one]))
    with pytest.raises(FileNotFoundError):
        program_digest([tmp_path / "none"])


def test_a_hash_is_cached_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    program = tmp_path / "program"
    for data in (b"a build", b"another build"):
        program.write_bytes(data)
        program_digest([program])
    kept = {path.read_text().splitlines()[0] for path in (tmp_path / "cache" / "facts").iterdir()}
    assert kept == {sha256(b"a build"), sha256(b"another build")}
