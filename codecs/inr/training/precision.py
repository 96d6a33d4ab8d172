"""The number format in which a training computes: a setting of every INR codec, and part of a result's identity."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]
"""`bfloat16`: convolutions and matrix products by torch's autocast; weights, optimizer, the head and the loss stay in
float32."""
Choice = Literal["auto", "float32", "bfloat16"]


def resolve(choice: Choice, device_type: str) -> Precision:
    """The number format of a training on this type of device (`cpu`, `cuda`); `auto`: bfloat16 on CUDA, else float32.

    On a CPU, `auto` does not look at the processor, so that one command has one identity on every machine.
    """
    if choice != "auto":
        return choice
    return "bfloat16" if device_type == "cuda" else "float32"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a network computes in this number format."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
