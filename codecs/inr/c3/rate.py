"""The estimated rate of latents: bits under Laplace distributions of the locations and scales that a network gives."""

import math
from typing import Any

import torch
from torch import Tensor

from .latents import Q_STEP

SHIFT = 8.0
"""Added to the second output before it is clamped."""
SCALES = (1e-3, 150.0)
"""Bounds of the scale."""
LIMITS = (-2 * math.log(SCALES[1]), -2 * math.log(SCALES[0]))
"""Bounds of the shifted second output; a larger one gives a smaller scale (the convention of Cool-chic's code)."""
MOST_BITS = 16.0
"""Most bits that the estimate counts for a latent."""


def scale_of(output: Tensor) -> Tensor:
    """The scale of a latent's Laplace distribution from the network's second output."""
    return torch.exp(-0.5 * (output + SHIFT).clamp(*LIMITS))


def laplace_bits(x: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    """Bits of values under Laplace distributions that are integrated over [x - 1/2, x + 1/2], without a limit."""
    distance = (x - location).abs()
    outside = (distance - 0.5).clamp(min=0) / scale - torch.log(-torch.expm1(-1 / scale)) + math.log(2)
    inner = distance.clamp(max=0.5)
    inside = -torch.log(-0.5 * (torch.expm1(-(inner + 0.5) / scale) + torch.expm1((inner - 0.5) / scale)))
    return torch.where(distance > 0.5, outside, inside) / math.log(2)


def latent_bits(grid: Tensor, output: Tensor) -> Tensor:
    """Bits of quantized latents, at most MOST_BITS each.

    Of a grid `[t, h, w]` given its network's output `[t, 2, h, w]`, or of `[latents]` given `[latents, 2]`.
    """
    location, scale = output[:, 0] / Q_STEP, scale_of(output[:, 1]) / Q_STEP
    return laplace_bits(grid / Q_STEP, location, scale).clamp(max=MOST_BITS)


def fast_latent_bits(latents: Tensor, output: Tensor) -> Tensor:
    """`latent_bits` of `[latents]` given `[latents, 2]`, with the gradient by its formula: half of the passes."""
    result: Tensor = _LatentBits.apply(latents, output)  # type: ignore[no-untyped-call]
    return result


class _LatentBits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, latents: Tensor, output: Tensor) -> Tensor:
        location, number = output.unbind(-1)
        offset = (latents - location).mul_(1 / Q_STEP)
        shifted = number + SHIFT
        rate = (shifted.clamp(*LIMITS) * 0.5).exp_().mul_(Q_STEP)
        """One over the scale."""
        distance = offset.abs()
        beyond = distance - 0.5
        is_beyond = beyond > 0
        within = distance.clamp_(max=0.5)
        decay = torch.expm1(-rate)
        after = torch.expm1((-0.5 - within).mul_(rate))
        before = torch.expm1((within - 0.5).mul_(rate))
        probability = (after + before).mul_(-0.5)
        far = (beyond * rate).sub_(decay.neg().log_()).add_(math.log(2))
        bits = torch.where(is_beyond, far, probability.log().neg_()).mul_(1 / math.log(2))
        if any(ctx.needs_input_grad):
            counted = (bits <= MOST_BITS).to(bits.dtype).mul_(1 / math.log(2))
            to_distance = torch.where(is_beyond, 1.0, (before - after).div_(probability).mul_(0.5)).mul_(rate)
            near = (after + 1).mul_(within + 0.5).sub_((before + 1).mul_(within - 0.5)).div_(probability).mul_(-0.5)
            to_rate = torch.where(is_beyond, (decay + 1).div_(decay).add_(beyond), near)
            to_latents = to_distance.mul_(counted).mul_(offset.sign()).mul_(1 / Q_STEP)
            moves = (shifted >= LIMITS[0]) & (shifted <= LIMITS[1])
            to_number = to_rate.mul_(counted).mul_(rate).mul_(0.5).mul_(moves)
            ctx.save_for_backward(to_latents, torch.stack([-to_latents, to_number], dim=-1))
        return bits.clamp_(max=MOST_BITS)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        to_latents, to_output = ctx.saved_tensors
        return gradients[0] * to_latents, gradients[0][:, None] * to_output
