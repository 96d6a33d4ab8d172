"""A process that decodes damaged bitstreams: `python -m rdbench.conformance.damage CODEC OPTIONS FILE...`.

It prints a line of JSON for each file: `["decoded", "4 frames"]`, `["refused", sentence]` or `["raised", error]`.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

from ..codec import Codec
from ..errors import RdbenchError
from ..registry import load_class
from ..runner.decoding import DecoderOptions
from ..runner.preparation import prepare
from ..video.checked import CheckedVideo


def outcome(cls: type[Codec], path: Path, options: DecoderOptions) -> tuple[str, str]:
    """What decoding the file comes to: `decoded`, `refused` or `raised`, and what was said."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            video = CheckedVideo(cls.decode(path, options.workspace(Path(scratch), "cpu")))
            return "decoded", f"{sum(map(len, video.batches()))} frames"
        except RdbenchError as error:
            return "refused", str(error)
        except (Exception, SystemExit) as error:
            return "raised", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def main() -> None:
    """Decodes each file in turn."""
    codec, options, *files = sys.argv[1:]
    chosen = DecoderOptions(**json.loads(options))
    cls = load_class(codec)
    prepare(cls.kind, "cpu", 1)
    for file in files:
        with contextlib.redirect_stdout(sys.stderr):  # what a codec prints is not an outcome
            found = outcome(cls, Path(file), chosen)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
