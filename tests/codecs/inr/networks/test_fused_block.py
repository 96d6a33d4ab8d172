"""The fused block against the plain one, in Triton's interpreter on a CPU, and compiled where there is a GPU."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from triton_interpreter import IS_CHOSEN, interpreted, needs_triton, passed_in_the_interpreter

from rdbench.codecs.hinerv import Block as HiNeRVBlock
from rdbench.codecs.inr.networks.layers.fused_block import Block, fused_block, plain_block
from rdbench.codecs.tenerv import Refinement

torch.set_num_threads(1)
no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")


def block(before: int, hidden: int, after: int, side: int = 3, samples: int = 0, affine: bool = False) -> Block:
    """`affine`: biases everywhere, and an affine normalization; `samples`: kernels for each of them, else shared."""

    def values(*shape: int) -> Tensor:
        return nn.Parameter(torch.randn(shape) / 2)

    shape = (*([samples] if samples else []), before)
    widen, narrow = nn.Linear(before, hidden, bias=affine), nn.Linear(hidden, after, bias=affine)
    vectors = (values(*shape), values(before), values(before)) if affine else (None, None, None)
    return Block(values(*shape, side, side), *vectors, widen, narrow, 1e-6, before == after)


Run = Callable[[Tensor, Block, Tensor | None], Tensor]


def results(run: Run, x: Tensor, own: Block, mask: Tensor | None, dtype: torch.dtype) -> list[Tensor]:
    """Output and all gradients, float32."""
    leaf = x.detach().requires_grad_()
    with torch.autocast(x.device.type, dtype, enabled=dtype is not torch.float32):
        y = run(leaf, own, mask)
    given = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)).to(y.device) - 0.5
    return [y.detach().float(), *torch.autograd.grad((y.float() * given).sum(), [leaf, *own.parameters()])]


def errors(ours: list[Tensor], theirs: list[Tensor]) -> list[float]:
    return [float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True)]


def inputs(samples: int, height: int, width: int, channels: int) -> tuple[Tensor, Tensor]:
    """Features in torch's usual order, seen channels last, and a mask."""
    mask = torch.rand(samples, height, width, 1) > 0.2
    return torch.randn(samples, channels, height, width).permute(0, 2, 3, 1), mask


CASES = [
    # before, hidden, after, side, kernels of each sample, affine, masked
    (12, 48, 12, 3, False, False, True),
    (20, 80, 10, 3, False, False, False),
    (13, 50, 13, 3, True, True, True),
    (70, 100, 70, 3, False, True, False),
    (9, 36, 9, 5, False, True, False),
]


def check(device: str, dtype: torch.dtype, case: tuple[int, int, int, int, bool, bool, bool], height: int) -> None:
    before, hidden, after, side, own_kernels, affine, masked = case
    torch.manual_seed(0)
    samples = 2 if own_kernels else 1
    own = block(before, hidden, after, side, samples if own_kernels else 0, affine)
    own.widen.to(device), own.narrow.to(device)
    moved = {
        name: nn.Parameter(value.detach().to(device))
        for name in ("kernels", "bias", "gain", "offset")
        if (value := getattr(own, name)) is not None
    }
    own = replace(own, **moved)
    x, mask = (tensor.to(device) for tensor in inputs(samples, height, 9, before))
    exact = results(plain_block, x, own, mask if masked else None, torch.float32)
    ours = results(fused_block, x, own, mask if masked else None, dtype)
    if dtype is torch.float32:
        assert max(errors(ours, exact)) < 1e-4
        return
    plain = results(plain_block, x, own, mask if masked else None, dtype)
    slack = 2.5 if device == "cpu" else 1.5  # the interpreter rounds to bfloat16 towards zero, with twice the error
    for own_error, plain_error in zip(errors(ours, exact), errors(plain, exact), strict=True):
        assert own_error < slack * plain_error + 1e-3


@interpreted
@pytest.mark.parametrize("case", CASES)
def test_float32_equals_the_plain_layers(case: tuple[int, int, int, int, bool, bool, bool]) -> None:
    check("cpu", torch.float32, case, 5)


@interpreted
@pytest.mark.parametrize("case", CASES[1:3])
def test_bfloat16_is_as_near_to_float32_as_the_plain_layers(case: tuple[int, int, int, int, bool, bool, bool]) -> None:
    check("cpu", torch.bfloat16, case, 5)


@needs_triton
@pytest.mark.slow
@pytest.mark.skipif(IS_CHOSEN, reason="This is the process.")
def test_in_the_interpreter() -> None:
    """Runs the tests above in a process of their own."""
    assert f"{len(CASES) + 2} passed" in passed_in_the_interpreter(__file__, "float32_equals or bfloat16_is")


@needs_triton
@no_gpu
@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", [*CASES, (336, 1344, 168, 3, False, False, True)])
def test_compiled_kernels(case: tuple[int, int, int, int, bool, bool, bool], dtype: torch.dtype) -> None:
    check("cuda", dtype, case, 37)


def test_the_plain_block_is_hinervs_and_nvrcs() -> None:
    torch.manual_seed(0)
    x, mask = inputs(2, 5, 6, 8)
    for after in (8, 4):
        network = HiNeRVBlock(8, after, 32)
        weights = network.depthwise.weight[:, 0]
        own = Block(weights, None, None, None, network.widen, network.narrow, 1e-6, after == 8)
        assert torch.allclose(plain_block(x, own, mask), network(x, mask), atol=1e-6)


def test_the_plain_block_is_tenervs() -> None:
    torch.manual_seed(0)
    x, mask = inputs(2, 5, 6, 8)
    for after in (8, 4):
        network, groups = Refinement(3, 8, after, 32), torch.tensor([2, 0])
        with torch.no_grad():
            network.depthwise.kernels.normal_()
            network.norm.weight.normal_()
        kernels = network.depthwise.kernels[groups].unflatten(-1, (3, 3))
        norm = network.norm
        own = Block(kernels, None, norm.weight, norm.bias, network.widen, network.narrow, norm.eps, after == 8)
        assert torch.allclose(plain_block(x, own, mask), network(x, groups, mask), atol=1e-6)
