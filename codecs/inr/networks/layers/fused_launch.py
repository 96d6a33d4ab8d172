"""Launches of the kernels of `fused_block`: sizes of tiles and parts, a forward and a backward pass as functions.

Each pass is an operator of torch besides, which torch.compile takes as it is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TILE_VALUES = 1 << 12
"""Values of a tile's features: 64 pixels of up to 64 channels (our choice, as the next one)."""
CHUNK_VALUES = 1 << 12
"""Values of a chunk of a weight matrix."""
WARPS = 8
"""Warps of a program: with 4 the compiler for an H100 keeps some values of wide tiles in memory, with 8 nearly none."""
PROGRAMS = 528
"""Programs that share the pixels of a sum: four for each multiprocessor of an H100."""
Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Of x, kernels, widen, shift, narrow and last."""


def values_moved(before: int, hidden: int, after: int) -> int:
    """Values per pixel that the kernels read and write in a forward and a backward pass (see `fused_block.py`).

    `before`, `hidden`, `after`: widths of the block, which is residual where the first is the last.
    """
    chunks = -(-hidden // _chunk_units(before, hidden, after))
    residual = after if before == after else 0
    return (before + after) + (3 * before + after) + chunks * (before + after) + (3 * before + residual)


def _power(number: int) -> int:
    """The power of two that is not smaller, at least 16, the least that matrix units multiply."""
    return max(16, 1 << (number - 1).bit_length())


def _chunk_units(before: int, hidden: int, after: int) -> int:
    """Hidden units that a kernel computes at once."""
    return min(64, _power(hidden), max(16, CHUNK_VALUES // max(_power(before), _power(after))))


@dataclass(frozen=True)
class _Shapes:
    """Sizes of a launch."""

    batch: int
    height: int
    width: int
    before: int
    hidden: int
    after: int
    side: int

    @classmethod
    def of(cls, x: Tensor, kernels: Tensor, widen: Tensor, narrow: Tensor) -> "_Shapes":
        side = round((kernels.shape[1] - 1) ** 0.5)
        batch, height, width, before = x.shape
        return cls(batch, height, width, before, len(widen), len(narrow), side)

    @property
    def blocks(self) -> dict[str, int]:
        """Widths and their padded sizes, as the kernels name them."""
        return {
            "IN": self.before, "HIDDEN": self.hidden, "OUT": self.after, "BLOCK_IN": _power(self.before),
            "BLOCK_OUT": _power(self.after), "BLOCK_HIDDEN": _chunk_units(self.before, self.hidden, self.after),
        }  # fmt: skip

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile: 16 to 64 pixels, nearly square so that few neighbors are read twice."""
        pixels = TILE_VALUES // max(_power(self.before), _power(self.after))
        return (8, 8) if pixels >= 64 else (4, 8) if pixels >= 32 else (4, 4)

    @property
    def tiles(self) -> int:
        """Tiles of an image."""
        rows, columns = self.tile
        return -(-self.height // rows) * -(-self.width // columns)


def forward(
    x: Tensor, kernels: Tensor, widen: Tensor, shift: Tensor, narrow: Tensor, last: Tensor, mask: Tensor | None,
    epsilon: float, residual: bool,
) -> Tensor:  # fmt: skip
    """`[B, h, w, C']` of the contiguous x `[B, h, w, C]`; shift and last are the biases, the mask is uint8."""
    from . import fused_kernels  # imports Triton

    s = _Shapes.of(x, kernels, widen, narrow)
    y = _empty_output(x, kernels, widen, shift, narrow, last, mask, epsilon, residual)
    fused_kernels.forward[(s.batch * s.tiles,)](
        x, kernels, widen, shift, narrow, last, x if mask is None else mask, y, s.height, s.width,
        _stride(kernels), epsilon, SIDE=s.side, MASKED=mask is not None, RESIDUAL=residual, TILE_H=s.tile[0],
        TILE_W=s.tile[1], PRECISION=_precision(x), num_warps=WARPS, **s.blocks,
    )  # fmt: skip
    return y


def backward(
    x: Tensor, kernels: Tensor, widen: Tensor, shift: Tensor, narrow: Tensor, mask: Tensor | None, given: Tensor,
    epsilon: float, residual: bool,
) -> Gradients:  # fmt: skip
    """The gradients for that of the output, `given`, which is contiguous."""
    s = _Shapes.of(x, kernels, widen, narrow)
    layers = (widen, shift, narrow, x if mask is None else mask, given)
    normalized, to_u = _gradients_of_pixels(s, x, kernels, layers, mask is not None, epsilon)
    to_widen, to_shift, to_narrow, to_last = _gradients_of_layers(s, normalized, layers, mask is not None)
    to_x, to_kernels = _gradients_of_depthwise(s, x, kernels, given, to_u, residual)
    return to_x, to_kernels, to_widen, to_shift, to_narrow, to_last


def _empty_output(
    x: Tensor, kernels: Tensor, widen: Tensor, shift: Tensor, narrow: Tensor, last: Tensor, mask: Tensor | None,
    epsilon: float, residual: bool,
) -> Tensor:  # fmt: skip
    """An output without values, for tracing too."""
    return x.new_empty(*x.shape[:3], len(narrow), dtype=x.dtype if residual else widen.dtype)


def _empty_gradients(
    x: Tensor, kernels: Tensor, widen: Tensor, shift: Tensor, narrow: Tensor, mask: Tensor | None, given: Tensor,
    epsilon: float, residual: bool,
) -> Gradients:  # fmt: skip
    """Gradients without values, for tracing."""
    to_x, to_kernels = x.new_empty(x.shape), kernels.new_empty(kernels.shape)
    to_widen, to_shift = widen.new_empty(widen.shape), shift.new_empty(shift.shape)
    return to_x, to_kernels, to_widen, to_shift, narrow.new_empty(narrow.shape), shift.new_empty(len(narrow))


forward_operator = torch.library.custom_op("rdbench::fused_block", forward, mutates_args=())
forward_operator.register_fake(_empty_output)
backward_operator = torch.library.custom_op("rdbench::fused_block_gradients", backward, mutates_args=())
backward_operator.register_fake(_empty_gradients)


def _stride(kernels: Tensor) -> int:
    """From a sample's kernels to the next one's; 0 where all samples share them."""
    return 0 if len(kernels) == 1 else kernels.stride(0)


def _precision(x: Tensor) -> str:
    """How float32 is multiplied, as torch's setting says; on a CPU the kernels can only be interpreted."""
    if not x.is_cuda:
        return "interpreted"
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


Layers = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Both weights with the first bias between them, the mask or any tensor, and the gradient of the output."""


def _gradients_of_pixels(
    s: _Shapes, x: Tensor, kernels: Tensor, layers: Layers, masked: bool, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Normalized features, and the gradient of the depthwise convolution's output, in the products' type."""
    from . import fused_kernels

    normalized, to_u = (torch.empty_like(x, dtype=layers[0].dtype) for _ in range(2))
    fused_kernels.backward_pixels[(s.batch * s.tiles,)](
        x, kernels, *layers, normalized, to_u, s.height, s.width, _stride(kernels), epsilon, SIDE=s.side,
        MASKED=masked, TILE_H=s.tile[0], TILE_W=s.tile[1], PRECISION=_precision(x), num_warps=WARPS, **s.blocks,
    )  # fmt: skip
    return normalized, to_u


def _gradients_of_layers(s: _Shapes, normalized: Tensor, layers: Layers, masked: bool) -> tuple[Tensor, ...]:
    """Gradients of both pointwise layers' weights and biases: widen, shift, narrow, last."""
    from . import fused_kernels

    pixels, tile = s.batch * s.height * s.width, s.tile[0] * s.tile[1]
    chunks = -(-s.hidden // s.blocks["BLOCK_HIDDEN"])
    parts = max(1, min(-(-pixels // tile), PROGRAMS // chunks))
    to_widen, to_narrow = (
        normalized.new_empty(parts, s.hidden, count, dtype=torch.float32) for count in (s.before, s.after)
    )
    to_shift, to_last = (to_widen.new_empty(parts, count) for count in (s.hidden, s.after))
    fused_kernels.backward_weights[(parts, chunks)](
        normalized, *layers, to_widen, to_shift, to_narrow, to_last, pixels, MASKED=masked, TILE=tile,
        PRECISION=_precision(normalized), num_warps=WARPS, **s.blocks,
    )  # fmt: skip
    dtype = layers[0].dtype
    return to_widen.sum(0).to(dtype), to_shift.sum(0), to_narrow.sum(0).t().to(dtype).contiguous(), to_last.sum(0)


def _gradients_of_depthwise(
    s: _Shapes, x: Tensor, kernels: Tensor, given: Tensor, to_u: Tensor, residual: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of the input and of the depthwise kernels with their biases."""
    from . import fused_kernels

    parts = max(1, min(s.tiles, PROGRAMS // s.batch))
    to_x, sums = torch.empty_like(x), kernels.new_empty(s.batch, parts, *kernels.shape[1:])
    fused_kernels.backward_depthwise[(s.batch * parts,)](
        x, kernels, given, to_u, to_x, sums, s.height, s.width, _stride(kernels), parts, IN=s.before, SIDE=s.side,
        RESIDUAL=residual, TILE_H=s.tile[0], TILE_W=s.tile[1], BLOCK_IN=_power(s.before),
        BLOCK_TAPS=_power(s.side**2 + 1), num_warps=WARPS,
    )  # fmt: skip
    return to_x, sums.sum(1) if len(kernels) > 1 else sums.sum((0, 1))[None]
