"""The device that a job computes on, decided before it runs, because it is part of what identifies the result."""

from ..codec import Kind


def choose_device(device: str, kind: Kind) -> str:
    """`auto` is the GPU for codecs that compute on one, where there is one, else the CPU; others use the CPU."""
    if kind == "conventional":
        return "cpu"
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def device_class(device: str) -> str:
    """`cuda:1` -> `cuda`: devices of one class count as giving the same bits."""
    return device.partition(":")[0]
