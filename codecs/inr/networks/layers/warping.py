"""Frames bent along flows, and blends of them (FFNeRV, section 3.3)."""

import torch
from torch import Tensor
from torch.nn import functional


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Samples frames `[B, C, H, W]` where the flow `[B, 2, H, W]` points: (dx, dy) in pixels, borders repeated.

    Zero flow is the identity (our choice; FFNeRV's code mixes two conventions, so that it shifts by half a pixel).
    """
    _, _, height, width = frames.shape
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    places = torch.stack([2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1], dim=-1)
    return functional.grid_sample(frames, places, padding_mode="border", align_corners=True)


def aggregate(references: Tensor, motion: Tensor, scale: int) -> Tensor:
    """Warped references `[B, A, C, H, W]`, blended: `[B, C, H, W]`.

    Of `motion` `[B, 3 A, H / scale, W / scale]` the first 2 A channels are the flows (dx, dy) in its own pixels,
    brought to full size bilinearly; the others are logits of the blend, brought to full size by repetition.
    """
    count = references.shape[1]
    motion = motion.float()
    flows = functional.interpolate(motion[:, : 2 * count], scale_factor=scale, mode="bilinear") * scale
    shares = functional.interpolate(motion[:, 2 * count :].softmax(dim=1), scale_factor=scale, mode="nearest")
    return blend_warped(references, flows, shares)


def blend_warped(references: Tensor, flows: Tensor, shares: Tensor) -> Tensor:
    """References `[B, A, C, H, W]` bent along flows `[B, 2 A, H, W]` and added by shares `[B, A, H, W]`."""
    batch, count = references.shape[:2]
    warped = warp(references.flatten(0, 1).float(), flows.unflatten(1, (count, 2)).flatten(0, 1))
    blended: Tensor = (warped.unflatten(0, (batch, count)) * shares[:, :, None]).sum(dim=1)
    return blended
