"""What people call the columns of tables and the axes of figures, with their units."""

from collections.abc import Mapping
from types import MappingProxyType

HEADS: Mapping[str, str] = MappingProxyType({
    "bpp": "bits per pixel", "kbps": "kbit/s", "psnr_rgb": "PSNR RGB (dB)", "psnr_yuv": "PSNR YUV 6:1:1 (dB)",
    "psnr_y": "PSNR Y (dB)", "psnr_u": "PSNR U (dB)", "psnr_v": "PSNR V (dB)", "ms_ssim": "MS-SSIM",
    "ms_ssim_db": "MS-SSIM (dB)", "vmaf": "VMAF", "encode_seconds": "encode time (s)", "encode_fps": "encoded frames/s",
    "decode_seconds": "decode time (s)", "decode_fps": "decoded frames/s", "frame_rate": "frames/s",
    "first_frame_seconds": "first frame (s)", "seek_seconds": "seek time (s)", "peak_memory_mb": "peak memory (MB)",
    "kmacs_per_pixel": "kMAC per pixel", "energy_joules": "energy (J)", "bd_rate": "BD-rate (%)", "low": "low (%)",
    "high": "high (%)", "median": "median (%)", "bd_quality": "BD-quality (dB)", "pchip": "pchip (%)",
    "akima": "akima (%)", "cubic": "cubic (%)", "spread": "spread (points)", "leave_one_out": "leave one out (points)",
})  # fmt: skip


def head(column: str) -> str:
    """The head of a column: with its unit where it has one, else its name in words."""
    return HEADS.get(column, column.replace("_", " "))
