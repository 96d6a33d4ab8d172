"""The device that a job computes on, decided before it runs, because it is part of what identifies the result."""

from ..codec import Kind
from ..registry import find_card, parse_specs
from .nvml import open_nvml, visible_gpus


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


def default_jobs(codecs: str | None, device: str) -> int:
    """One job for each GPU that the user left visible where one of the codecs computes on any of them, else one.

    Raises UsageError for codecs that do not exist.
    """
    if codecs is None or device not in ("auto", "cuda"):
        return 1
    if all(find_card(spec.name).kind == "conventional" for spec in parse_specs(codecs)):
        return 1
    with open_nvml() as nvml:
        gpus = 0 if nvml is None else len(visible_gpus(nvml))
    return gpus if gpus > 1 and choose_device(device, "INR") == "cuda" else 1
