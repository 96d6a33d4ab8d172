"""How torch computes float32: set by whoever trains or renders, and named in records."""

from collections.abc import Iterator

import pytest
import torch

from rdbench.codecs.inr.switches import describe_switches, set_switches


@pytest.fixture(autouse=True)
def other_switches() -> Iterator[None]:
    """All switches the other way round, and back to where they were afterwards."""
    cudnn, products = torch.backends.cudnn, torch.get_float32_matmul_precision()
    before = (cudnn.allow_tf32, cudnn.benchmark)
    torch.set_float32_matmul_precision("high")
    cudnn.allow_tf32 = cudnn.benchmark = True
    yield
    torch.set_float32_matmul_precision(products)
    cudnn.allow_tf32, cudnn.benchmark = before


def test_float32_is_float32_and_no_algorithm_is_chosen_by_a_measurement() -> None:
    assert describe_switches() == "TF32 on, cudnn.benchmark on"
    set_switches()
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.benchmark
    assert describe_switches() == "TF32 off, cudnn.benchmark off"


def test_tf32_in_products_alone_is_named() -> None:
    set_switches()
    torch.set_float32_matmul_precision("high")
    assert describe_switches() == "TF32 on, cudnn.benchmark off"
