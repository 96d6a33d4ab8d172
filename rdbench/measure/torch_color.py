"""YUV to 8-bit RGB with torch, where frames are measured on a GPU: bit by bit what `rdbench.video.color` gives."""

import torch
from torch import Tensor

from ..video import VideoFormat
from ..video.color import INTEGER, LUMA_WEIGHTS, SCALE_8_BIT
from ..video.conditions import Conditions


def to_rgb(planes: list[Tensor], fmt: VideoFormat, conditions: Conditions) -> list[Tensor]:
    """8-bit RGB planes `[T, H, W]` in int32 of YUV, gray or RGB planes in int32."""
    eight = [_eight_bits(plane, fmt.bit_depth) for plane in planes]
    if fmt.chroma == "rgb":
        return eight
    if fmt.chroma == "gray":
        eight += [torch.full_like(eight[0], 128)] * 2
    convert = _exact if conditions.matrix == "bt709" else _integer
    return convert(eight, fmt.full_range)


def _eight_bits(plane: Tensor, depth: int) -> Tensor:
    if depth == 8:
        return plane
    shift = depth - 8
    return ((plane + (1 << (shift - 1))) >> shift).clamp_(max=255)


def _integer(planes: list[Tensor], full_range: bool) -> list[Tensor]:
    """The integer arithmetic of ffmpeg's default path; chroma is replicated."""
    cy, rv, gu, gv, bu = INTEGER["bt601", full_range]
    shape = planes[0].shape[1], planes[0].shape[2]
    u, v = ((plane - 128) * SCALE_8_BIT for plane in planes[1:])
    y = (planes[0] - (0 if full_range else 16)) * (SCALE_8_BIT * cy) >> 16
    chroma = (v * rv >> 16, (u * gu >> 16) + (v * gv >> 16), u * bu >> 16)
    return [(y + _replicated(plane, shape)).clamp_(0, 255) for plane in chroma]


def _replicated(chroma: Tensor, shape: tuple[int, int]) -> Tensor:
    """Each chroma sample repeated over the luma samples that it covers, cut to an odd size."""
    for dim, length in ((1, shape[0]), (2, shape[1])):
        if chroma.shape[dim] != length:
            chroma = chroma.repeat_interleave(2, dim=dim).narrow(dim, 0, length)
    return chroma


def _exact(planes: list[Tensor], full_range: bool) -> list[Tensor]:
    """BT.709 in float64 with bilinear chroma, rounded once."""
    kr, kb = LUMA_WEIGHTS["bt709"]
    kg = 1 - kr - kb
    shape = planes[0].shape[1], planes[0].shape[2]
    offset, luma_range, chroma_range = (0, 255, 255) if full_range else (16, 219, 224)
    y = (planes[0].double() - offset) / luma_range
    u, v = ((_bilinear(plane.double(), shape) - 128) / chroma_range for plane in planes[1:])
    red = y + 2 * (1 - kr) * v
    green = y - 2 * (1 - kb) * kb / kg * u - 2 * (1 - kr) * kr / kg * v
    blue = y + 2 * (1 - kb) * u
    return [(plane * 255 + 0.5).floor_().clamp_(0, 255).to(torch.int32) for plane in (red, green, blue)]


def _bilinear(chroma: Tensor, shape: tuple[int, int]) -> Tensor:
    """Chroma at luma positions: co-sited horizontally, centered vertically; edges are repeated."""
    if chroma.shape[1] != shape[0]:
        above = torch.cat([chroma[:, :1], chroma[:, :-1]], dim=1)
        below = torch.cat([chroma[:, 1:], chroma[:, -1:]], dim=1)
        rows = torch.stack([0.75 * chroma + 0.25 * above, 0.75 * chroma + 0.25 * below], dim=2)
        chroma = rows.flatten(1, 2)[:, : shape[0]]
    if chroma.shape[2] != shape[1]:
        right = torch.cat([chroma[..., 1:], chroma[..., -1:]], dim=2)
        chroma = torch.stack([chroma, 0.5 * (chroma + right)], dim=3).flatten(2)[..., : shape[1]]
    return chroma
