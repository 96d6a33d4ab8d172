"""Exact arithmetic: the exponential."""

import numpy as np

from rdbench.codecs.inr.entropy.exact import exact_exp


def test_the_exponential_is_numpys() -> None:
    x = np.linspace(-30, 30, 10001)
    assert np.allclose(exact_exp(x), np.exp(x), rtol=1e-14, atol=0)
