"""What a machine with a GPU shows in one call: is it right, how fast is it, does it reach the published numbers.

    python tests/benchmarks/gpu/kit.py --out DIR --wheels .whl         # nine minutes; see README.md
    python tests/benchmarks/gpu/kit.py --out DIR --wheels .whl --only machine,published --trainings hnerv
    python tests/benchmarks/gpu/kit.py --out DIR --wheels .whl --originals DIR    # and the authors' own steps
    python tests/benchmarks/gpu/kit.py --out DIR --hours 24 --data-root DATA   # the long form, with UVG
    python tests/benchmarks/gpu/kit.py --out DIR --device cpu --toy         # the rehearsal, about a minute

Needs Python and torch, and the wheels that `wheels.sh` collects where rdbench's dependencies are not installed. Each
part runs in processes of its own within time limits; a Markdown and a JSON file are written after each row.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environment import environment, make_packages
from ledger import LOG, Ledger, Row
from parts import GROUPS, PARTS, PROBLEMS, Plan
from processes import Place

RESERVE_SECONDS = 10.0
"""What ends before the limit, so that the files are complete."""
MOST_THREADS = 16


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels; without it rdbench's needs are installed")
    time_given = parser.add_mutually_exclusive_group()
    time_given.add_argument("--minutes", type=float, default=9.0)
    time_given.add_argument("--hours", type=float, help="the long form: all limits grow in proportion")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--toy", action="store_true", help="the smallest sizes, to rehearse the kit")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, of " + ", ".join(PARTS))
    parser.add_argument("--trainings", default="", help="codecs of the trainings, as nerv,hnerv")
    parser.add_argument("--threads", type=int, default=min(MOST_THREADS, len(os.sched_getaffinity(0))))
    parser.add_argument("--data-root", help="the folder of UVG, for the long form")
    parser.add_argument("--originals", help="a folder of the authors' repositories, for steps beside theirs")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.only.split(",")) - PARTS.keys():
        parser.error(f"There is no part {min(unknown)!r}; there are {', '.join(PARTS)}.")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts; 1 where something failed or differs."""
    chosen, started = parse(arguments), time.monotonic()
    minutes = 60 * chosen.hours if chosen.hours else chosen.minutes
    heading = {
        "command": " ".join(sys.argv[1:]), "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "device": chosen.device, "threads": chosen.threads, "size": "toy" if chosen.toy else "full",
    }  # fmt: skip
    ledger = Ledger(chosen.out, heading)
    trainings = [name for name in chosen.trainings.split(",") if name]
    data_root, originals = (str(Path(it).resolve()) if it else None for it in (chosen.data_root, chosen.originals))
    plan = Plan(chosen.device, chosen.toy, minutes, chosen.threads, trainings, data_root, originals)
    with tempfile.TemporaryDirectory() as folder:
        packages, scratch = Path(folder) / "packages", Path(folder) / "scratch"
        scratch.mkdir()
        try:
            make_packages(packages, chosen.wheels)
            ledger.add(Row("setup", "packages", seconds=time.monotonic() - started))
        except Exception as error:  # the parts show what is missing
            ledger.add(Row("setup", "packages", "failed", time.monotonic() - started, {}, str(error)))
        variables, end = environment(packages, chosen.threads), started + 60 * minutes - RESERVE_SECONDS
        place = Place(ledger, variables, scratch, end, (chosen.out / LOG).resolve())
        for group in GROUPS:
            run_group(place, plan, [name for name in group if name in chosen.only.split(",")])
    wrong = [row for row in ledger.rows if row.status in PROBLEMS]
    print(f"{len(ledger.rows)} rows, {len(wrong)} of them failed or differ: {chosen.out}", flush=True)
    return 1 if wrong else 0


def run_group(place: Place, plan: Plan, names: Sequence[str]) -> None:
    """Runs these parts side by side; an error of the kit itself is a row too."""

    def guarded(name: str) -> None:
        began = time.monotonic()
        try:
            PARTS[name](place, plan)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            place.ledger.add(Row(name, "the kit itself", "failed", time.monotonic() - began, {}, message))

    with ThreadPoolExecutor(max(1, len(names))) as pool:
        list(pool.map(guarded, names))


if __name__ == "__main__":
    sys.exit(main())
