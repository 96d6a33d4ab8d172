"""A process of the kit: reads a list of cases from its standard input, and prints a line for each finding."""

import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

Found = Iterator[Mapping[str, Any]]
TAIL = 700
KNOWN = {
    "describe": "machine", "agree": "agreement", "time_codec": "speed", "time_original": "original",
    "time_blocks": "blocks", "measure": "metrics", "train": "training",
}  # fmt: skip
"""Functions that cases name, with their modules, each of which is imported by the first case that needs it."""


def main() -> None:
    """Does all cases; an error inside one is a row, and the next one follows."""
    words = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no message

    def say(kind: str, **more: Any) -> None:
        words.write(json.dumps({"kind": kind, **more}, default=str) + "\n")

    cases = json.load(sys.stdin)
    import torch

    for case in cases:
        say("begin")
        try:
            for found in work_of(case["do"], say)(**case["arguments"]):
                say(**{"kind": "row", **found})
        except Exception as error:
            traceback.print_exc()
            say("row", error=f"{type(error).__name__}: {error}"[-TAIL:])
        say("end")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def work_of(name: str, say: Callable[..., None]) -> Callable[..., Found]:
    """The function of a case; a training says on the way how far it is."""
    function: Callable[..., Found] = getattr(importlib.import_module(KNOWN[name]), name)
    return partial(function, lambda values: say("progress", values=values)) if name == "train" else function


if __name__ == "__main__":
    main()
