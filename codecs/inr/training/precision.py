"""The number format in which a training computes: a setting of every INR codec, and part of a result's identity."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16", "float16"]
"""`bfloat16`, `float16`: convolutions and matrix products by torch's autocast; weights, optimizer, the head and the
loss stay in float32. float16, in which HiNeRV's authors train, also has its loss scaled (`make_scaler`)."""
Choice = Literal["auto", "float32", "bfloat16", "float16"]


def resolve(choice: Choice, device_type: str) -> Precision:
    """The number format of a training on this type of device (`cpu`, `cuda`); `auto`: bfloat16 on CUDA, else float32.

    On a CPU, `auto` does not look at the processor, so that one command has one identity on every machine.
    """
    if choice != "auto":
        return choice
    return "bfloat16" if device_type == "cuda" else "float32"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a network computes in this number format."""
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "float32")


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """The scaling of the loss that keeps gradients in float16's range; it changes nothing in other formats.

    A step whose gradients overflow is left out, and the scale halved (torch's defaults). With Adam and AdamW the device
    decides so by itself; with Adan and Muon the host waits for it in every step.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
