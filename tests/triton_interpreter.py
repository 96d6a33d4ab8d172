"""Tests of Triton kernels without a GPU: Triton's interpreter has to be chosen before Triton is imported.

Triton reads the choice once, which may be before a test begins, as torch imports it. So such tests are marked
`interpreted`, and one more test runs them in a process of their own by `passed_in_the_interpreter`.
"""

import os
import subprocess
import sys

import pytest

from rdbench.codecs.inr.networks.layers.fused_block import triton_is_there

_VARIABLE = "TRITON_INTERPRET"
IS_CHOSEN = os.environ.get(_VARIABLE) == "1"
"""Whether this process has the interpreter."""
needs_triton = pytest.mark.skipif(not triton_is_there(), reason="Triton is not installed.")
interpreted = pytest.mark.skipif(not IS_CHOSEN, reason="Another test runs these in a process.")


def passed_in_the_interpreter(file: str, which: str) -> str:
    """What pytest prints of the tests of a file that `-k which` selects; they all pass."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", file, "-k", which]
    environment = {**os.environ, _VARIABLE: "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout
