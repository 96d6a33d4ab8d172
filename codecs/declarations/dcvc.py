"""DCVC-DC and DCVC-FM as programs: encode a clip to one file, decode that file and nothing else.

The authors' test script encodes and decodes in one process. This one only encodes or only decodes with their
networks, with their padding, chroma handling, quality structure and deterministic settings; their sources and
checkpoints are arguments, and it runs in the Python that has their requirements. The file: `HEADER`, then the length
and the bytes of each frame.

    dcvc.py version dc|fm SOURCES WEIGHTS
    dcvc.py encode dc|fm SOURCES WEIGHTS DEVICE in.yuv out.bin WIDTH HEIGHT FRAMES Q INTRA_PERIOD
    dcvc.py decode dc|fm SOURCES WEIGHTS DEVICE in.bin out.yuv
"""

from __future__ import annotations

import hashlib
import importlib
import os
import struct
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

State = dict[str, Any]
"""The decoded picture buffer (`dpb`): the decoded frame and the features that the next one is predicted from."""
HEADER = struct.Struct(">HHIBi")
LENGTH = struct.Struct(">I")


class Head(NamedTuple):
    """The fields of HEADER; with an intra period below 1 only the first frame is an intra frame."""

    width: int
    height: int
    frames: int
    q: int
    intra_period: int

    def is_intra(self, index: int) -> bool:
        """Whether the frame is an intra frame."""
        return index % self.intra_period == 0 if self.intra_period > 0 else index == 0


class Networks(ABC):
    """The intra and inter networks of one codec."""

    intra_class: str
    checkpoints: tuple[str, str]
    page: str
    """Where the authors' README says that the checkpoints are."""

    def __init__(self, weights: Path, device: str, q: int) -> None:
        load = importlib.import_module("src.utils.stream_helper").get_state_dict
        modules = (("src.models.image_model", self.intra_class), ("src.models.video_model", "DMC"))
        nets = []
        for (module, name), file in zip(modules, self.checkpoints):  # noqa: B905 (their Python may be 3.9)
            net = getattr(importlib.import_module(module), name)(inplace=True)
            net.load_state_dict(load(str(weights / file)))
            net = net.to(device).eval()
            net.update(force=True)
            nets.append(net)
        self.intra, self.inter = nets
        self.device, self.q = device, q

    @abstractmethod
    def compress(self, x: Any, state: State | None, index: int) -> tuple[bytes, State]:
        """The bytes of a frame (1 x 3 x H x W) and the next state; without a state it is an intra frame."""

    @abstractmethod
    def decompress(self, data: bytes, state: State | None, index: int, head: Head) -> State:
        """The next state, with the decoded frame as `ref_frame`."""


def intra_state(result: State) -> State:
    """The state after an intra frame."""
    return {**dict.fromkeys(("ref_feature", "ref_mv_feature", "ref_y", "ref_mv_y")), "ref_frame": result["x_hat"]}


class DC(Networks):
    """DCVC-DC: quality classes repeat after four frames. Indices 0 to 63 lie between its two outer stored scales."""

    intra_class = "IntraNoAR"
    checkpoints = ("cvpr2023_image_yuv420_psnr.pth.tar", "cvpr2023_video_yuv420_psnr.pth.tar")
    page = "https://1drv.ms/u/s!AozfVVwtWWYoiWdwDhEkZMIfpon5?e=JcGri5"

    def compress(self, x: Any, state: State | None, index: int) -> tuple[bytes, State]:
        if state is None:
            result = self.intra.compress(x, False, self.q)
            return result["bit_stream"], intra_state(result)
        result = self.inter.compress(x, state, False, self.q, index % 4)
        return result["bit_stream"], result["dpb"]

    def decompress(self, data: bytes, state: State | None, index: int, head: Head) -> State:
        if state is None:
            return intra_state(self.intra.decompress(data, head.height, head.width, False, self.q))
        result = self.inter.decompress(state, data, head.height, head.width, False, self.q, index % 4)
        return dict(result["dpb"])


class FM(Networks):
    """DCVC-FM: quality classes repeat after eight frames; the features are refreshed every 32 frames."""

    intra_class = "DMCI"
    checkpoints = ("cvpr2024_image.pth.tar", "cvpr2024_video.pth.tar")
    page = "https://1drv.ms/f/s!AozfVVwtWWYoi1QkAhlIE-7aAaKV?e=OoemTr"
    refresh = 32

    def compress(self, x: Any, state: State | None, index: int) -> tuple[bytes, State]:
        if state is None:
            result = self.intra.compress(x, self.q)
            return result["bit_stream"], intra_state(result)
        quality, state = self._refreshed(state, index)
        result = self.inter.compress(x, state, self.q, quality)
        return result["bit_stream"], result["dpb"]

    def decompress(self, data: bytes, state: State | None, index: int, head: Head) -> State:
        sps = {"height": head.height, "width": head.width, "qp": self.q}
        if state is None:
            return intra_state(self.intra.decompress(data, sps))
        quality, state = self._refreshed(state, index)
        return dict(self.inter.decompress(data, state, {**sps, "fa_idx": quality})["dpb"])

    def _refreshed(self, state: State, index: int) -> tuple[int, State]:
        if index % self.refresh == 1:
            return 3, {**state, "ref_feature": None}
        return (0, 1, 0, 2, 0, 2, 0, 2)[index % 8], state


CODECS: dict[str, type[Networks]] = {"dc": DC, "fm": FM}


def encode(networks: Networks, head: Head, source: BinaryIO, out: BinaryIO) -> None:
    """Encodes 8-bit 4:2:0 frames; prints the number of each finished frame."""
    out.write(HEADER.pack(*head))
    state: State | None = None
    for index in range(head.frames):
        x = read_frame(source, head.width, head.height, networks.device)
        data, state = networks.compress(x, None if head.is_intra(index) else state, index)
        state["ref_frame"].clamp_(0, 1)
        if index == 0:
            check_coder(networks, head, data, state)
        out.write(LENGTH.pack(len(data)) + data)
        print(f"frame {index + 1}", flush=True)


def check_coder(networks: Networks, head: Head, data: bytes, state: State) -> None:
    """Exits with a sentence where the first frame does not decode: their C++ module may fail without an error."""
    decoded = networks.decompress(data, None, 0, head)["ref_frame"].clamp_(0, 1)
    if not float((decoded - state["ref_frame"]).abs().max()) < 1 / 255:  # NaN neither
        sys.exit(
            "The first frame decodes to another picture than was encoded, as with NumPy 2, which their pybind11 does "
            "not know; run pip install 'numpy<2' for their Python."
        )


def decode(networks: Networks, head: Head, source: BinaryIO, out: BinaryIO) -> None:
    """Writes 8-bit 4:2:0 frames. Exits with a sentence where the file ends early."""
    state: State | None = None
    for index in range(head.frames):
        length = source.read(LENGTH.size)
        data = source.read(LENGTH.unpack(length)[0]) if len(length) == LENGTH.size else b""
        if not data or len(data) != LENGTH.unpack(length)[0]:
            sys.exit(f"The bitstream ends in frame {index + 1} of {head.frames}; encode it again.")
        state = networks.decompress(data, None if head.is_intra(index) else state, index, head)
        write_frame(out, state["ref_frame"].clamp_(0, 1)[0, :, : head.height, : head.width].cpu().numpy())


def read_frame(source: BinaryIO, width: int, height: int, device: str) -> Any:
    """The next frame as 1 x 3 x H x W in 0..1, H and W padded to multiples of 16."""
    import numpy as np
    import torch

    upsample = importlib.import_module("src.transforms.functional").ycbcr420_to_444
    padding = importlib.import_module("src.utils.stream_helper").get_padding_size(height, width, 16)
    raw = np.frombuffer(source.read(width * height * 3 // 2), np.uint8).astype(np.float32) / 255
    luma = raw[: width * height].reshape(1, height, width)
    chroma = raw[width * height :].reshape(2, height // 2, width // 2)
    frame = torch.from_numpy(upsample(luma, chroma, order=0)).float().unsqueeze(0).to(device)
    return torch.nn.functional.pad(frame, padding, mode="replicate")


def write_frame(out: BinaryIO, frame: Any) -> None:
    """Writes a 3 x H x W frame in 0..1 as 8-bit 4:2:0."""
    import numpy as np

    downsample = importlib.import_module("src.transforms.functional").ycbcr444_to_420
    for plane in downsample(frame):
        out.write(np.clip(np.rint(plane * 255), 0, 255).astype(np.uint8).tobytes())


def version(name: str, sources: Path, weights: Path) -> str:
    """A hash of the networks' code and weights. Exits with a sentence where a file is missing."""
    digest, folder = hashlib.sha256(), f"DCVC-family/DCVC-{name.upper()}"
    for kind in ("image", "video", "common"):
        file = sources / "src" / "models" / f"{kind}_model.py"
        if not file.is_file():
            sys.exit(f"There is no {file}; give the folder {folder} of github.com/microsoft/DCVC as path.")
        digest.update(file.read_bytes())
    for checkpoint in CODECS[name].checkpoints:
        if not (weights / checkpoint).is_file():
            sys.exit(
                f"There is no {weights / checkpoint}; run python3 download.py in {folder}/checkpoints, or download "
                f"it from {CODECS[name].page}, and give its folder as weights."
            )
        digest.update((weights / checkpoint).read_bytes())
    return f"dcvc-{name} {digest.hexdigest()[:8]}"


def prepare(device: str) -> None:
    """Applies the authors' deterministic settings: encoder and decoder must compute the same numbers."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    import torch

    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    if device == "cpu":  # DCVC-FM synchronizes with the GPU even without one
        setattr(torch.cuda, "synchronize", lambda device=None: None)  # noqa: B010


def main(arguments: list[str]) -> None:
    """Runs one of the three verbs."""
    verb, name, sources, weights, *rest = arguments
    if verb == "version":
        print(version(name, Path(sources), Path(weights)))
        return
    sys.path.insert(0, sources)
    device, source, target, *numbers = rest
    prepare(device)
    with open(source, "rb") as file, open(target, "wb") as out:
        if verb == "encode":
            head = Head(*map(int, numbers))
            encode(CODECS[name](Path(weights), device, head.q), head, file, out)
        else:
            raw = file.read(HEADER.size)
            if len(raw) != HEADER.size:
                sys.exit("The bitstream is cut short in its header; encode it again.")
            head = Head._make(HEADER.unpack(raw))
            decode(CODECS[name](Path(weights), device, head.q), head, file, out)


if __name__ == "__main__":
    main(sys.argv[1:])
