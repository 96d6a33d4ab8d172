"""Defaults of the command line, in a module that imports nothing heavy: `rdbench --help` shows some of them."""

from ..measure import DEFAULT_METRICS

CONDITIONS = "rgb601"
METRICS = ",".join(DEFAULT_METRICS)
DEVICE = "auto"
SEED = 0
OUT = "results"
EXECUTOR = "local"
