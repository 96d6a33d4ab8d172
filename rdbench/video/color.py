"""YUV <-> RGB, chroma resampling and bit depth, exactly specified; the same on CPU and GPU (torch)."""

import numpy as np
import torch

from ..errors import MediaError
from .conditions import Conditions
from .depth import change_depth, typed
from .video import Frames, Plane, VideoFormat

LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Kr and Kb of each matrix (ITU-R BT.601, BT.709)."""

_INTEGER = {
    ("bt601", False): (9539, 13075, -3209, -6660, 16525),
    ("bt601", True): (8192, 11485, -2819, -5850, 14516),
}
"""16.16 fixed-point constants / 8 of ffmpeg's default path (cy, rv, gu, gv, bu), limited and full range."""

_SCALE_8_BIT = 8
"""ffmpeg's default path multiplies samples by 8 before its 16-bit high multiplication."""


def to_rgb(frames: Frames, fmt: VideoFormat, conditions: Conditions) -> Frames:
    """8-bit RGB planes `[T, H, W]` of YUV, gray or RGB frames, by the conversion of the test conditions."""
    eight = _to_8_bit(frames, fmt.bit_depth)
    if fmt.chroma == "rgb":
        return eight
    planes = [torch.from_numpy(_owned(plane)) for plane in eight.planes]
    if fmt.chroma == "gray":
        planes += [torch.full_like(planes[0], 128)] * 2
    if conditions.matrix == "bt709":
        rgb = rgb_exact(planes, fmt.full_range, "bt709")
    else:
        rgb = rgb_integer(planes, fmt.full_range)
    return Frames(tuple(plane.numpy() for plane in rgb))


def rgb_integer(planes: list[torch.Tensor], full_range: bool = False) -> tuple[torch.Tensor, ...]:
    """8-bit YUV planes -> R, G, B by the integer arithmetic of ffmpeg's default path; chroma is replicated.

    Limited-range 4:2:0 is what the INR papers trained on, to the bit. Full range uses the same arithmetic with
    full-range constants, and 4:2:2 and 4:4:4 replicate chroma only where it is subsampled (our choice).
    """
    cy, rv, gu, gv, bu = _INTEGER["bt601", full_range]
    height, width = planes[0].shape[-2:]
    u = planes[1].to(torch.int32).mul_(_SCALE_8_BIT).sub_(1024)
    v = planes[2].to(torch.int32).mul_(_SCALE_8_BIT).sub_(1024)
    y = planes[0].to(torch.int32).mul_(_SCALE_8_BIT)
    if not full_range:
        y.sub_(128)
    y = y.mul_(cy).bitwise_right_shift_(16)
    red = (v * rv).bitwise_right_shift_(16)
    green = (u * gu).bitwise_right_shift_(16).add_((v * gv).bitwise_right_shift_(16))
    blue = (u * bu).bitwise_right_shift_(16)
    return tuple((y + _replicate(c, height, width)).clamp_(0, 255).to(torch.uint8) for c in (red, green, blue))


def _replicate(chroma: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Each chroma sample repeated over the luma samples that it covers, cut to an odd size."""
    if chroma.shape[-2] != height:
        chroma = chroma.repeat_interleave(2, dim=-2)[..., :height, :]
    if chroma.shape[-1] != width:
        chroma = chroma.repeat_interleave(2, dim=-1)[..., :width]
    return chroma


def rgb_exact(planes: list[torch.Tensor], full_range: bool, matrix: str) -> tuple[torch.Tensor, ...]:
    """8-bit YUV planes -> R, G, B in float64, bilinear chroma (MPEG-2 siting), rounded once."""
    kr, kb = LUMA_WEIGHTS[matrix]
    kg = 1 - kr - kb
    height, width = planes[0].shape[-2:]
    offset, luma_range, chroma_range = (0, 255, 255) if full_range else (16, 219, 224)
    y = (planes[0].double() - offset) / luma_range
    u, v = ((_bilinear(c.double(), height, width) - 128) / chroma_range for c in planes[1:])
    red = y + 2 * (1 - kr) * v
    blue = y + 2 * (1 - kb) * u
    green = y - 2 * (1 - kb) * kb / kg * u - 2 * (1 - kr) * kr / kg * v
    return tuple((c * 255 + 0.5).floor_().clamp_(0, 255).to(torch.uint8) for c in (red, green, blue))


def _bilinear(chroma: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Chroma at luma positions: co-sited horizontally, centered vertically; edges are repeated."""
    if chroma.shape[-2] != height:
        above = torch.cat([chroma[..., :1, :], chroma[..., :-1, :]], dim=-2)
        below = torch.cat([chroma[..., 1:, :], chroma[..., -1:, :]], dim=-2)
        rows = torch.stack([0.75 * chroma + 0.25 * above, 0.75 * chroma + 0.25 * below], dim=-2)
        chroma = rows.flatten(-3, -2)[..., :height, :]
    if chroma.shape[-1] != width:
        right = torch.cat([chroma[..., 1:], chroma[..., -1:]], dim=-1)
        chroma = torch.stack([chroma, 0.5 * (chroma + right)], dim=-1).flatten(-2)[..., :width]
    return chroma


def rgb_to_yuv(frames: Frames, fmt: VideoFormat, target: VideoFormat, matrix: str = "bt601") -> Frames:
    """RGB planes -> YUV of the target's chroma, depth and range: float64, box-averaged chroma, rounded once."""
    kr, kb = LUMA_WEIGHTS[matrix]
    r, g, b = (torch.from_numpy(_owned(p)).double() / fmt.peak for p in frames.planes)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    unit = 1 << (target.bit_depth - 8)
    offset, luma_range, chroma_range = (
        (0.0, target.peak, target.peak) if target.full_range else (16.0 * unit, 219.0 * unit, 224.0 * unit)
    )
    planes = [y * luma_range + offset]
    for c, (height, width) in zip((u, v), target.plane_shapes[1:], strict=False):
        planes.append(_box(c, height, width) * chroma_range + 128.0 * unit)
    rounded = ((p + 0.5).floor_().clamp_(0, target.peak).numpy() for p in planes)
    return Frames(tuple(typed(p, target.dtype) for p in rounded))


def _box(chroma: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The mean over the luma samples that a chroma sample covers (odd edges: over those that exist)."""
    if chroma.shape[-2] != height:
        chroma = _pair_means(chroma, -2)
    if chroma.shape[-1] != width:
        chroma = _pair_means(chroma, -1)
    return chroma


def _pair_means(x: torch.Tensor, dim: int) -> torch.Tensor:
    if x.shape[dim] % 2:
        x = torch.cat([x, x.narrow(dim, x.shape[dim] - 1, 1)], dim=dim)
    even = torch.arange(0, x.shape[dim], 2)
    return (x.index_select(dim, even) + x.index_select(dim, even + 1)) / 2


def convert(frames: Frames, fmt: VideoFormat, target: VideoFormat, matrix: str = "bt601") -> Frames:
    """The frames in the target's chroma and bit depth. Raises MediaError where that would invent chroma."""
    if fmt.chroma == "rgb" and target.chroma != "rgb":
        return rgb_to_yuv(frames, fmt, target, matrix)
    if fmt.chroma != target.chroma:
        frames = _subsample(frames, fmt, target)
    return change_depth(frames, fmt.bit_depth, target.bit_depth)


def _subsample(frames: Frames, fmt: VideoFormat, target: VideoFormat) -> Frames:
    if fmt.chroma not in ("444", "422") or target.chroma not in ("422", "420"):
        raise MediaError(f"{fmt.chroma} frames cannot be converted to {target.chroma}; use a source of that chroma.")
    planes = [frames.planes[0]]
    for plane, (height, width) in zip(frames.planes[1:], target.plane_shapes[1:], strict=True):
        boxed = _box(torch.from_numpy(plane.astype(np.float64)), height, width)
        planes.append(typed((boxed + 0.5).floor().numpy(), fmt.dtype))
    return Frames(tuple(planes))


def _to_8_bit(frames: Frames, depth: int) -> Frames:
    return change_depth(frames, depth, 8)


def _owned(plane: Plane) -> Plane:
    """The plane in memory that torch may take: contiguous and writable."""
    return np.require(plane, requirements=["C", "W"])
