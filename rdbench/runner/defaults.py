"""Defaults of the command line, in a module that imports nothing heavy: `rdbench --help` shows some of them."""

from ..measure import DEFAULT_METRICS

CONDITIONS = "rgb601"
METRICS = ",".join(DEFAULT_METRICS)
DEVICE = "auto"
SEED = 0
OUT = "results"
EXECUTOR = "local"
SLURM_JOBS = 256
"""Tasks of a SLURM array that run at a time (our choice, as in submitit)."""
SLURM_THREADS = 4
"""Cores of a SLURM job: those of the machine that submits it say nothing (our choice)."""
