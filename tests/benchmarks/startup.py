"""Time of the commands that only look around: `--help`, `codecs`, `datasets`, before and after a change.

    python tests/benchmarks/startup.py --before /path/to/old/python [--runs 5]

Whole commands are timed as in `records.py`, which has the columns and the options; Python alone is the lower limit.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from records import compare, row, timed

COMMANDS = {
    "--help": ("--help",), "run --help": ("run", "--help"), "codecs": ("codecs",), "datasets": ("datasets",),
    "plan --help": ("plan", "--help"), "results --help": ("results", "--help"),
}  # fmt: skip


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="the Python of an environment with an older rdbench")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    pythons = {**({"before": given.before} if given.before else {}), "after": sys.executable}
    print(f"{'command':<28} {'before':>15} {'after':>15}\n{'':<28}" + f"{'wall':>8}{'CPU':>8}" * 2 + "   ratio")
    for name, words in COMMANDS.items():
        print(row(name, compare(pythons, words, given.runs)), flush=True)
    alone = [timed(sys.executable, (), "pass") for _ in range(given.runs)]
    print(row("Python alone", {"after": tuple(statistics.median(values) for values in zip(*alone, strict=True))}))


if __name__ == "__main__":
    main()
