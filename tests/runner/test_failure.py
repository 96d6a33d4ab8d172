"""What becomes of an error inside a job."""

import errno
import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from rdbench.errors import MediaError
from rdbench.runner.failure import describe_failure, ends_run, plain_values


class Model(BaseModel):
    value: float


def test_an_error_becomes_one_sentence() -> None:
    assert describe_failure(MediaError("One sentence.")) == "One sentence."
    assert describe_failure(ValueError("why")) == "ValueError: why"
    assert describe_failure(KeyError()) == "KeyError."
    with pytest.raises(ValueError, match="number") as error:
        Model(value="x")
    assert describe_failure(error.value) == (
        "The job's model has a wrong value (value: Input should be a valid number, unable to parse string as a number)."
    )


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "a\x1b[31mb", "a\n\n b", "x" * 10**6, "\x00" * 5000])
def test_every_reason_can_be_written_and_shown(text: str) -> None:
    reason = describe_failure(ValueError(text))
    assert reason.encode()
    assert reason.isprintable()
    assert len(reason) <= 2000


def test_every_setting_can_be_written() -> None:
    values = plain_values({"a": "x\ud800", 1: (object, 2, None, True), "b": {"c": {1}}})
    assert values["1"][1:] == [2, None, True]
    assert json.dumps(values, ensure_ascii=False).encode()


def test_only_a_disk_that_takes_no_more_ends_the_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        assert ends_run(OSError(code, "no"), out)
    ours, others = str(out / "runs" / "x"), str(tmp_path / "clip.y4m")
    assert ends_run(OSError(errno.EACCES, "no", ours), out)
    assert ends_run(OSError(errno.EACCES, "no", others, None, ours), out)
    assert not ends_run(OSError(errno.EACCES, "no", others), out)
    assert not ends_run(OSError(errno.EACCES, "no"), out)
    assert not ends_run(OSError(errno.EISDIR, "no", ours), out)
    assert not ends_run(ValueError("No space left on device"), out)
