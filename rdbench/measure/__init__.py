"""Measures: quality of decoded video (metrics.py), Bjontegaard deltas between curves (bdrate.py), seeds and intervals
(statistics.py)."""

METRICS = ("psnr", "ms_ssim", "vmaf")
DEFAULT_METRICS = ("psnr", "ms_ssim")
SMALLEST_MS_SSIM_SIDE = 161
"""Smallest side for MS-SSIM: five scales of an 11-tap window need more than 160 samples."""
