"""The block of HiNeRV, NVRC and TeNeRV in few kernels: depthwise convolution, normalization, two pointwise layers.

A step of these networks is bound by memory traffic when every operation writes its result. Here, for each pixel, the
forward pass reads C values and writes C', and keeps nothing but its input; C and C' are the widths before and after.
The backward pass computes wide features again, in registers. Its first kernel reads C + C' and writes 2 C (normalized
features, and the gradient of the depthwise convolution's output), the second reads C + C' once per chunk of
hidden units (sums for the pointwise weights), the third reads 2 C, with a residual C' more, and writes C (gradients
of input and depthwise kernels). The plain layers write and read the wide features several times besides.

Only for CUDA with Triton; tests run the kernels in Triton's interpreter.
"""

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_SIDE = 512
"""Most channels before and after: a tile's channels are in registers."""
TILE_VALUES = 1 << 12
"""Values of a tile's features: 64 pixels of up to 64 channels (our choice, as the next one)."""
CHUNK_VALUES = 1 << 12
"""Values of a chunk of a weight matrix."""
WARPS = 8
"""Warps of a program: with 4 the compiler for an H100 keeps some values of wide tiles in memory, with 8 nearly none."""
PROGRAMS = 528
"""Programs that share the pixels of a sum: four for each multiprocessor of an H100."""


@dataclass(frozen=True)
class Block:
    """The tensors of a block, and what its two forms of forward pass need to know."""

    kernels: Tensor
    """Depthwise kernels `[C, k, k]`, or `[B, C, k, k]` with one set for each sample."""
    bias: Tensor | None
    """Their biases `[C]` or `[B, C]`."""
    gain: Tensor | None
    """Affine parameters of the normalization, `[C]`, both or none."""
    offset: Tensor | None
    widen: nn.Linear
    narrow: nn.Linear
    epsilon: float
    """Of the normalization."""
    residual: bool
    """Whether the input is added to the output; the widths are then equal."""

    def parameters(self) -> list[Tensor]:
        """All tensors that have a gradient."""
        layers = (self.widen.weight, self.widen.bias, self.narrow.weight, self.narrow.bias)
        tensors = (self.kernels, self.bias, self.gain, self.offset, *layers)
        return [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]


def triton_is_there() -> bool:
    """Whether the package is installed; it is not imported."""
    return importlib.util.find_spec("triton") is not None


def values_moved(block: Block) -> int:
    """Values per pixel that the fused kernels read and write in a forward and a backward pass (see above)."""
    before, hidden, after = block.widen.in_features, block.widen.out_features, block.narrow.out_features
    chunks = -(-hidden // _chunk_units(before, hidden, after))
    residual = block.residual * after
    return (before + after) + (3 * before + after) + chunks * (before + after) + (3 * before + residual)


def can_fuse(x: Tensor, block: Block) -> bool:
    """Whether the fused kernels can compute the block for this input."""
    widths = (block.widen.in_features, block.narrow.out_features)
    return x.is_cuda and max(widths) <= LARGEST_SIDE and x.numel() > 0 and triton_is_there()


def plain_block(x: Tensor, block: Block, mask: Tensor | None = None) -> Tensor:
    """The block in torch's operations: `[B, h, w, C]` -> `[B, h, w, C']`; `mask` `[B, h, w, 1]` of the branch."""
    batch, height, width, channels = x.shape
    kernels = block.kernels.expand(batch, *block.kernels.shape[-3:]).flatten(0, 1)[:, None]
    bias = None if block.bias is None else block.bias.expand(batch, channels).flatten()
    flat = x.permute(1, 2, 0, 3).reshape(1, height, width, -1).permute(0, 3, 1, 2)
    y = functional.conv2d(flat, kernels, bias, padding=kernels.shape[-1] // 2, groups=batch * channels)
    y = y.permute(0, 2, 3, 1).view(height, width, batch, channels).permute(2, 0, 1, 3)
    y = functional.layer_norm(y, (channels,), block.gain, block.offset, block.epsilon)
    z: Tensor = block.narrow(functional.gelu(block.widen(y)))
    z = z if mask is None else z * mask
    return x + z if block.residual else z


def fused_block(x: Tensor, block: Block, mask: Tensor | None = None) -> Tensor:
    """`plain_block` in few kernels, with its gradients.

    Products are of autocast's type where it is enabled, else of the input's; sums are float32.
    """
    device = x.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    taps = block.kernels.flatten(-2).transpose(-1, -2).float()
    bias = torch.zeros_like(taps[..., 0, :]) if block.bias is None else block.bias.float()
    kernels = torch.cat([taps, bias[..., None, :]], -2).view(-1, taps.shape[-2] + 1, taps.shape[-1])
    widen, shift = _folded(block)
    last = block.narrow.bias
    given = None if mask is None else mask.expand(*x.shape[:3], 1).to(torch.uint8).contiguous()
    y: Tensor = _Fused.apply(  # type: ignore[no-untyped-call]
        x, kernels, widen.to(precision), shift, block.narrow.weight.to(precision),
        shift.new_zeros(block.narrow.out_features) if last is None else last.float(),
        given, block.epsilon, block.residual,
    )  # fmt: skip
    return y


def _folded(block: Block) -> tuple[Tensor, Tensor]:
    """Weight and bias of the first pointwise layer with the normalization's affine parameters in them, float32."""
    weight = block.widen.weight.float()
    shift = weight.new_zeros(len(weight)) if block.widen.bias is None else block.widen.bias.float()
    if block.gain is None or block.offset is None:
        return weight, shift
    with torch.autocast(weight.device.type, enabled=False):
        return weight * block.gain.float(), shift + weight @ block.offset.float()


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


class _Fused(torch.autograd.Function):
    """The kernels and their gradients; the mask is uint8 or None."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernels: Tensor, widen: Tensor, shift: Tensor, narrow: Tensor, last: Tensor,
        mask: Tensor | None, epsilon: float, residual: bool,
    ) -> Tensor:  # fmt: skip
        from . import fused_kernels  # imports Triton, which a CPU does not need

        x, kernels, widen, narrow = (tensor.contiguous() for tensor in (x, kernels, widen, narrow))
        s = _Shapes.of(x, kernels, widen, narrow)
        y = x.new_empty(*x.shape[:3], s.after, dtype=x.dtype if residual else widen.dtype)
        fused_kernels.forward[(s.batch * s.tiles,)](
            x, kernels, widen, shift, narrow, last, x if mask is None else mask, y, s.height, s.width,
            _stride(kernels), epsilon, SIDE=s.side, MASKED=mask is not None, RESIDUAL=residual, TILE_H=s.tile[0],
            TILE_W=s.tile[1], PRECISION=_precision(x), num_warps=WARPS, **s.blocks,
        )  # fmt: skip
        ctx.save_for_backward(x, kernels, widen, shift, narrow, mask)
        ctx.epsilon, ctx.residual = epsilon, residual
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, kernels, widen, shift, narrow, mask = ctx.saved_tensors
        given, s = gradients[0].contiguous(), _Shapes.of(x, kernels, widen, narrow)
        layers = (widen, shift, narrow, x if mask is None else mask, given)
        normalized, to_u = _gradients_of_pixels(s, x, kernels, layers, mask is not None, ctx.epsilon)
        of_layers = _gradients_of_layers(s, normalized, layers, mask is not None)
        to_x, to_kernels = _gradients_of_depthwise(s, x, kernels, given, to_u, ctx.residual)
        return to_x, to_kernels, *of_layers, None, None, None


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
    return to_widen.sum(0).to(dtype), to_shift.sum(0), to_narrow.sum(0).t().to(dtype), to_last.sum(0)


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
