"""The block of HiNeRV, NVRC and TeNeRV in few kernels: depthwise convolution, normalization, two pointwise layers.

A step of these networks is bound by memory traffic when every operation writes its result. Here, for each pixel, the
forward pass reads C values and writes C', and keeps nothing but its input; C and C' are the widths before and after.
The backward pass computes wide features again, in registers. Its first kernel reads C + C' and writes 2 C (normalized
features, and the gradient of the depthwise convolution's output), the second reads C + C' once per chunk of
hidden units (sums for the pointwise weights), the third reads 2 C, with a residual C' more, and writes C (gradients
of input and depthwise kernels). The plain layers write and read the wide features several times besides.

Only for CUDA with Triton; tests run the kernels in Triton's interpreter. `fused_launch.py` starts the kernels.
"""

import importlib.util
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .depthwise import convolve_depthwise

LARGEST_SIDE = 512
"""Most channels before and after: a tile's channels are in registers."""


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

    def apart(self) -> "Block":
        """The same block with leaves of a graph of its own in place of tensors that others may have computed."""
        names = ("kernels", "bias", "gain", "offset")
        values = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **{name: value.detach().requires_grad_() for name, value in values.items()})


def triton_is_there() -> bool:
    """Whether the package is installed; it is not imported."""
    return importlib.util.find_spec("triton") is not None


def obstacle(x: Tensor, block: Block) -> str | None:
    """Why the fused kernels cannot compute the block for this input, as a clause; None where they can."""
    if not x.is_cuda:
        return "the fused kernels need CUDA"
    if not triton_is_there():
        return "the fused kernels need Triton, which is not installed"
    if max(block.widen.in_features, block.narrow.out_features) > LARGEST_SIDE:
        return f"the fused kernels take at most {LARGEST_SIDE} channels"
    return None if x.numel() else "there are no pixels"


def can_fuse(x: Tensor, block: Block) -> bool:
    """Whether the fused kernels can compute the block for this input."""
    return obstacle(x, block) is None


def plain_block(x: Tensor, block: Block, mask: Tensor | None = None) -> Tensor:
    """The block in torch's operations: `[B, h, w, C]` -> `[B, h, w, C']`; `mask` `[B, h, w, 1]` of the branch."""
    y = depthwise(x, block.kernels, block.bias)
    y = functional.layer_norm(y, x.shape[-1:], block.gain, block.offset, block.epsilon)
    z: Tensor = block.narrow(functional.gelu(block.widen(y)))
    z = z if mask is None else z * mask
    return x + z if block.residual else z


def depthwise(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """The depthwise convolution of `[B, h, w, C]`; kernels and bias as in `Block`.

    With kernels of each sample, the samples are channels of one convolution; nothing is copied for one sample.
    """
    (batch, height, width, channels), side = x.shape, kernels.shape[-1]
    if kernels.dim() == 3:
        y = convolve_depthwise(x.permute(0, 3, 1, 2), kernels[:, None], bias)
        return y.permute(0, 2, 3, 1)
    flat = x.permute(1, 2, 0, 3).reshape(1, height, width, batch * channels).permute(0, 3, 1, 2)
    own, biases = kernels.view(batch * channels, 1, side, side), None if bias is None else bias.flatten()
    y = convolve_depthwise(flat, own, biases)
    return y.permute(0, 2, 3, 1).view(height, width, batch, channels).permute(2, 0, 1, 3)


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


class _Fused(torch.autograd.Function):
    """The kernels and their gradients; the mask is uint8 or None.

    While torch.compile traces, an operator stands for the kernels of a pass, since it cannot look into them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernels: Tensor, widen: Tensor, shift: Tensor, narrow: Tensor, last: Tensor,
        mask: Tensor | None, epsilon: float, residual: bool,
    ) -> Tensor:  # fmt: skip
        from . import fused_launch  # registers operators, which a CPU does not need

        x, kernels, widen, narrow = (tensor.contiguous() for tensor in (x, kernels, widen, narrow))
        ctx.save_for_backward(x, kernels, widen, shift, narrow, mask)
        ctx.epsilon, ctx.residual = epsilon, residual
        compute = fused_launch.forward_operator if torch.compiler.is_compiling() else fused_launch.forward
        y: Tensor = compute(x, kernels, widen, shift, narrow, last, mask, epsilon, residual)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from . import fused_launch

        x, kernels, widen, shift, narrow, mask = ctx.saved_tensors
        compute = fused_launch.backward_operator if torch.compiler.is_compiling() else fused_launch.backward
        given = gradients[0].contiguous()
        found = compute(x, kernels, widen, shift, narrow, mask, given, ctx.epsilon, ctx.residual)
        return *found, None, None, None
