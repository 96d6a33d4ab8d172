"""Functions of many values in tiles that stay in a CPU's cache; what they need for gradients is computed again.

C3's layers are so narrow that on a CPU most of a training step is reading and writing memory.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

TILE, TILE_GPU = 1 << 16, 1 << 22
"""Values that are computed together, on a CPU (our choice: of 2^12 to 2^16 the fastest) and on a GPU."""
Bits = Callable[..., Tensor]
"""Maps tensors of P rows and parameters to a number for each row."""


def sum_in_tiles(function: Bits, rows: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """The sum of `function(*rows, *parameters)`; each tile's gradient is computed beside its value."""
    tensors = [*rows, *parameters]
    if not torch.is_grad_enabled():
        tensors = [tensor.detach() for tensor in tensors]  # a function does not see that no gradient is wanted
    result: Tensor = _Sum.apply(function, len(rows), *tensors)  # type: ignore[no-untyped-call]
    return result


def pointwise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)`, of each value alone; its derivative is computed beside it."""
    result: Tensor = _Pointwise.apply(function, x)  # type: ignore[no-untyped-call]
    return result


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Bits, count: int, *tensors: Tensor) -> Tensor:
        rows, parameters = tensors[:count], tensors[count:]
        tile, wanted = TILE_GPU if rows[0].is_cuda else TILE, any(ctx.needs_input_grad)
        total = rows[0].new_zeros((), dtype=torch.float64)
        gradients = [torch.empty_like(row) for row in rows] if wanted else []
        sums = [torch.zeros_like(parameter) for parameter in parameters] if wanted else []
        leaves = [parameter.detach().requires_grad_(wanted) for parameter in parameters]
        for number, parts in enumerate(zip(*(row.split(tile) for row in rows), strict=True)):
            with torch.set_grad_enabled(wanted):
                inputs = [*(part.detach().requires_grad_(wanted) for part in parts), *leaves]
                value = function(*inputs).sum()
            total += value.detach()
            if wanted:
                found = torch.autograd.grad(value, inputs)
                for whole, part in zip(gradients, found[:count], strict=True):
                    whole[number * tile : number * tile + len(part)] = part
                for whole, part in zip(sums, found[count:], strict=True):
                    whole += part
        ctx.save_for_backward(*gradients, *sums)
        return total.to(rows[0].dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return None, None, *(each * gradients[0] for each in ctx.saved_tensors)


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        flat, result = x.reshape(-1), torch.empty_like(x, memory_format=torch.contiguous_format)
        wanted, tile = ctx.needs_input_grad[1], TILE_GPU if x.is_cuda else TILE
        slopes = torch.empty_like(flat) if wanted else flat[:0]
        for number, (own, out) in enumerate(zip(flat.split(tile), result.view(-1).split(tile), strict=True)):
            with torch.set_grad_enabled(wanted):
                own = own.detach().requires_grad_(wanted)
                value = function(own)
            out.copy_(value.detach())
            if wanted:
                (slope,) = torch.autograd.grad(value, own, torch.ones_like(value))
                slopes[number * tile : number * tile + len(slope)] = slope
        ctx.save_for_backward(slopes)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (slopes,) = ctx.saved_tensors
        return None, gradients[0] * slopes.view(gradients[0].shape)
