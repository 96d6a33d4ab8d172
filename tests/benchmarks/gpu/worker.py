"""A process of the kit: reads a list of cases from its standard input, and prints a line for each finding."""

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

Found = Iterator[Mapping[str, Any]]
TAIL = 700


def main() -> None:
    """Does all cases; an error inside one is a row, and the next one follows."""
    words = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no message

    def say(kind: str, **more: Any) -> None:
        words.write(json.dumps({"kind": kind, **more}, default=str) + "\n")

    cases = json.load(sys.stdin)
    import torch
    from agreement import agree
    from blocks import time_blocks
    from machine import describe
    from metrics import measure
    from speed import time_codec
    from training import train

    known: dict[str, Callable[..., Found]] = {
        "describe": describe, "agree": agree, "time": time_codec, "blocks": time_blocks, "measure": measure,
        "train": partial(train, lambda values: say("progress", values=values)),
    }  # fmt: skip
    for case in cases:
        say("begin")
        try:
            for found in known[case["do"]](**case["arguments"]):
                say(**{"kind": "row", **found})
        except Exception as error:
            traceback.print_exc()
            say("row", error=f"{type(error).__name__}: {error}"[-TAIL:])
        say("end")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
