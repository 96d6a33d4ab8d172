"""What a process does before a clock starts: threads, the device, and what torch does only once."""

import io

from ..codec import Kind
from ..errors import RdbenchError
from .devices import choose_device


def prepare(kind: Kind, device: str, threads: int) -> str:
    """Sets torch's number of threads for codecs that use it; returns the device (see `resolve_device`)."""
    if kind != "conventional":
        import torch

        torch.set_num_threads(threads)
    return resolve_device(device, kind)


def resolve_device(device: str, kind: Kind) -> str:
    """The device that `choose_device` chooses, ready for use. Raises RdbenchError for a GPU that is not there."""
    device = choose_device(device, kind)
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise RdbenchError(f"There is no GPU for --device {device}; use --device cpu.")
        torch.zeros(1, device=device)  # creates the context, which is not part of any timed pass
    return device


def warm_up_training() -> None:
    """Does once what training does, because torch imports much of itself when that happens first: for seconds."""
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    torch.save({}, io.BytesIO())
