"""The switches of torch that decide how float32 is computed: set here and nowhere else, for training and rendering."""

import torch


def set_switches() -> None:
    """Sets the switches for this process; the values are our choice, and the same on every machine.

    No TF32, which CUDA's convolutions use by default: float32 is what it says, so that a GPU's frames are those of a
    CPU but for the order of sums. Who wants speed chooses `precision`. No `cudnn.benchmark`: it chooses algorithms by
    a measurement, so that one seed would give several bitstreams.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def describe_switches() -> str:
    """The switches as they are, for a record: `TF32 off, cudnn.benchmark off`."""
    tf32 = torch.backends.cudnn.allow_tf32 or torch.get_float32_matmul_precision() != "highest"
    states = {"TF32": tf32, "cudnn.benchmark": torch.backends.cudnn.benchmark}
    return ", ".join(f"{name} {'on' if on else 'off'}" for name, on in states.items())
