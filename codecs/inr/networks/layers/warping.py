"""Warping of frames by optical flow, and blending of warped frames (FFNeRV, section 3.3)."""

import torch
from torch import Tensor
from torch.nn import functional


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Samples frames `[B, C, H, W]` at positions displaced by the flow `[B, 2, H, W]`: (dx, dy) in pixels.

    Positions outside the frame take the nearest border pixel. Zero flow is the identity (our choice; FFNeRV's code
    mixes two conventions of pixel positions, so its zero flow shifts by half a pixel).
    """
    _, _, height, width = frames.shape
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    positions = torch.stack([2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1], dim=-1)
    return functional.grid_sample(frames, positions, padding_mode="border", align_corners=True)


def aggregate(references: Tensor, motion: Tensor, scale: int) -> Tensor:
    """Warps references `[B, A, C, H, W]` and blends them: `[B, C, H, W]`.

    The first 2 A channels of `motion` `[B, 3 A, H / scale, W / scale]` are the flows (dx, dy) in pixels of its own
    resolution, upsampled bilinearly; the others are the logits of the blending weights, upsampled by repetition.
    """
    count = references.shape[1]
    motion = motion.float()
    flows = functional.interpolate(motion[:, : 2 * count], scale_factor=scale, mode="bilinear") * scale
    weights = functional.interpolate(motion[:, 2 * count :].softmax(dim=1), scale_factor=scale, mode="nearest")
    return blend_warped(references, flows, weights)


def blend_warped(references: Tensor, flows: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of references `[B, A, C, H, W]` warped by flows `[B, 2 A, H, W]`; weights are `[B, A, H, W]`."""
    batch, count = references.shape[:2]
    warped = warp(references.flatten(0, 1).float(), flows.unflatten(1, (count, 2)).flatten(0, 1))
    blended: Tensor = (warped.unflatten(0, (batch, count)) * weights[:, :, None]).sum(dim=1)
    return blended
