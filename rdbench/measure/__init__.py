"""Measures: quality of decoded video (metrics.py), Bjontegaard deltas between curves (bdrate.py)."""

METRICS = ("psnr", "ms_ssim", "vmaf")
DEFAULT_METRICS = ("psnr", "ms_ssim")
