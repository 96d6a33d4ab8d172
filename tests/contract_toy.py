"""A toy codec that keeps the whole contract, and one with a single defect for each check of the contract."""

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict

from rdbench.codec import Clip, Codec, Host, RatePoint, Settings, SettingsBase, Source, Workspace
from rdbench.errors import BitstreamError, UsageError
from rdbench.video import Frames, Video, VideoFormat

MAGIC = b"CTOY"
HEADER = struct.Struct(">4sBHHHI")
"""Signature, spare byte, width, height, frames, checksum of what follows."""


class ToySettings(Settings):
    """One option."""

    level: int = 6


class ToyVideo(Video):
    """8-bit 4:2:0 frames in memory, with random access."""

    def __init__(self, width: int, height: int, frames: int, raw: bytes) -> None:
        self.format, self.frames = VideoFormat(width, height), frames
        values = np.frombuffer(raw, np.uint8).reshape(frames, -1)
        ends = np.cumsum([h * w for h, w in self.format.plane_shapes])[:-1]
        parts = np.split(values, ends, axis=1)
        self.planes = [p.reshape(frames, *shape) for p, shape in zip(parts, self.format.plane_shapes, strict=True)]

    def batches(self, size: int = 8) -> Iterator[Frames]:
        """All frames."""
        return self.span(0, len(self.planes[0]), size)

    def span(self, first: int, end: int, size: int = 8) -> Iterator[Frames]:
        """Some frames."""
        end = min(end, len(self.planes[0]))
        for start in range(first, end, size):
            yield Frames(tuple(plane[start : min(start + size, end)] for plane in self.planes))


class Toy(Codec):
    """Coarse samples, deflated frame by frame; it goes on where it was stopped."""

    Settings: ClassVar[type[SettingsBase]] = ToySettings
    presets: ClassVar[Mapping[str, Mapping[str, str | int | float | bool]]] = MappingProxyType({"tiny": {"level": 1}})
    threads_decide_bits = False
    uses_seed = False

    @classmethod
    def missing(cls, host: Host) -> str | None:
        """It always runs."""
        return None

    @classmethod
    def version(cls, host: Host) -> str:
        """The only one."""
        return "toy-1"

    @classmethod
    def signatures(cls) -> tuple[bytes, ...]:
        """Where every bitstream begins."""
        return (MAGIC,)

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Header and frames."""
        return {"header": HEADER.size, "frames": bitstream.stat().st_size - HEADER.size}

    def rate_points(self, clip: Clip) -> list[RatePoint]:
        """Two masks of bits."""
        return [RatePoint(f"keep{bits}", {"bits": bits}) for bits in (2, 4)]

    def spare(self, workspace: Workspace) -> int:
        """A byte of the header that means nothing."""
        return 0

    def level(self, workspace: Workspace) -> int:
        """How hard zlib tries."""
        return int(self.settings.level)

    def earlier(self, part: Path) -> list[bytes]:
        """The frames that an interrupted call has written."""
        raw = part.read_bytes() if part.exists() else b""
        frames = []
        while raw:
            size = int.from_bytes(raw[:4], "big")
            frames.append(raw[: 4 + size])
            raw = raw[4 + size :]
        return frames

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Writes the frames one by one into the workspace, then the bitstream."""
        mask, part = 256 - (1 << 8 - int(point.settings["bits"])), workspace.folder / "part"
        done = self.earlier(part)
        fmt, total = source.video.format, source.video.frames or 0
        for number, frame in enumerate(source.video.batches(1)):
            if number >= len(done):
                raw = b"".join((plane & np.uint8(mask)).tobytes() for plane in frame.planes)
                data = zlib.compress(raw, self.level(workspace))
                done.append(len(data).to_bytes(4, "big") + data)
                part.write_bytes(b"".join(done))
            workspace.progress(number + 1, total, "frames")
        body = b"".join(done)
        head = HEADER.pack(MAGIC, self.spare(workspace), fmt.width, fmt.height, total, zlib.crc32(body))
        bitstream.write_bytes(head + body)

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """The frames, after a check of the header and of the sum."""
        data = bitstream.read_bytes()
        if len(data) < HEADER.size or not data.startswith(MAGIC):
            raise BitstreamError("This is no bitstream of the toy; encode it again.")
        _, spare, width, height, frames, checksum = HEADER.unpack_from(data)
        body = data[HEADER.size :]
        if zlib.crc32(body) != checksum or spare > 1 or not width * height * frames:
            raise BitstreamError("The bitstream is damaged; encode it again.")
        return cls.show(width, height, frames, cls.inflate(body))

    @classmethod
    def inflate(cls, body: bytes) -> bytes:
        """The samples of all frames."""
        raw, at = [], 0
        while at < len(body):
            size = int.from_bytes(body[at : at + 4], "big")
            raw.append(zlib.decompress(body[at + 4 : at + 4 + size]))
            at += 4 + size
        return b"".join(raw)

    @classmethod
    def show(cls, width: int, height: int, frames: int, raw: bytes) -> Video:
        """The video of these samples. Raises BitstreamError where their number is another."""
        if len(raw) != frames * VideoFormat(width, height).frame_bytes:
            raise BitstreamError("The bitstream is damaged; encode it again.")
        return ToyVideo(width, height, frames, raw)


class BadMissing(Toy):
    """Says `no` and neither what is missing nor how to get it."""

    @classmethod
    def missing(cls, host: Host) -> str | None:
        return "no"


class BadVersion(Toy):
    """Another version each time."""

    @classmethod
    def version(cls, host: Host) -> str:
        return os.urandom(4).hex()


class LooseSettings(ToySettings):
    """Accepts any option."""

    model_config = ConfigDict(extra="allow")


class BadSettings(Toy):
    """Accepts options that do not exist."""

    Settings = LooseSettings


class BadRatePoints(Toy):
    """Two rate points of one label."""

    def rate_points(self, clip: Clip) -> list[RatePoint]:
        return [RatePoint("keep", {"bits": bits}) for bits in (2, 4)]


class BadRatePoint(Toy):
    """Any label is the first rate point."""

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        try:
            return super().rate_point(label, clip)
        except UsageError:
            return self.rate_points(clip)[0]


class BadEstimates(Toy):
    """A time below nothing."""

    def estimate_seconds(self, clip: Clip, point: RatePoint, device: str) -> float:
        return -1.0


class BadEncode(Toy):
    """Reports words where a number belongs."""

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        super().encode(source, point, bitstream, workspace)
        workspace.report["parameters"] = "many"


class BadDecodeSealed(Toy):
    """Keeps the frames in the encoder's process, beside the bitstream."""

    kept: ClassVar[dict[int, bytes]] = {}

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        super().encode(source, point, bitstream, workspace)
        data = bitstream.read_bytes()
        self.kept[zlib.crc32(data[HEADER.size :])] = data[HEADER.size :]
        bitstream.write_bytes(data[: HEADER.size])

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        _, _, width, height, frames, checksum = HEADER.unpack(bitstream.read_bytes())
        return cls.show(width, height, frames, cls.inflate(cls.kept[checksum]))


class BadSameFramesAgain(Toy):
    """Noise in the first sample."""

    @classmethod
    def inflate(cls, body: bytes) -> bytes:
        return os.urandom(1) + super().inflate(body)[1:]


class FullBatches(ToyVideo):
    """Leaves out the last batch, where it is short and not the only one."""

    def batches(self, size: int = 8) -> Iterator[Frames]:
        for number, batch in enumerate(super().batches(size)):
            if number == 0 or len(batch) == size:
                yield batch


class BadFramesAsDescribed(Toy):
    """Its frames depend on the size of the batches."""

    @classmethod
    def show(cls, width: int, height: int, frames: int, raw: bytes) -> Video:
        super().show(width, height, frames, raw)
        return FullBatches(width, height, frames, raw)


class LateSpan(ToyVideo):
    """Begins one frame late."""

    def batches(self, size: int = 8) -> Iterator[Frames]:
        return super().span(0, len(self.planes[0]), size)

    def span(self, first: int, end: int, size: int = 8) -> Iterator[Frames]:
        return super().span(first + 1, end + 1, size)


class BadRandomAccess(Toy):
    """Random access to the wrong frames."""

    @classmethod
    def show(cls, width: int, height: int, frames: int, raw: bytes) -> Video:
        super().show(width, height, frames, raw)
        return LateSpan(width, height, frames, raw)


class BadLedger(Toy):
    """A byte that is nowhere."""

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        return {"payload": bitstream.stat().st_size - 1}


class BadSignatures(Toy):
    """Bitstreams that begin otherwise."""

    @classmethod
    def signatures(cls) -> tuple[bytes, ...]:
        return (b"NOPE",)


class BadSameBitstreamAgain(Toy):
    """A byte at random in the header."""

    count: ClassVar[Iterator[int]] = iter(range(1 << 30))

    def spare(self, workspace: Workspace) -> int:
        return next(self.count) % 2


class BadThreads(Toy):
    """Another bitstream with other threads, and does not say so."""

    def level(self, workspace: Workspace) -> int:
        return 0 if workspace.threads > 1 else 9


class BadSeed(Toy):
    """Another bitstream with another seed, and does not say so."""

    def spare(self, workspace: Workspace) -> int:
        return workspace.seed


class BadResume(Toy):
    """Takes the last frame that it finds twice."""

    def earlier(self, part: Path) -> list[bytes]:
        found = super().earlier(part)
        return [*found, *found[-1:]]


class BadDamage(Toy):
    """Believes every byte."""

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        data = bitstream.read_bytes()
        _, _, width, height, frames, _ = HEADER.unpack_from(data)
        return cls.show(width, height, frames, cls.inflate(data[HEADER.size :]))


class BadOddClips(Toy):
    """Loses the last column of an odd width."""

    @classmethod
    def show(cls, width: int, height: int, frames: int, raw: bytes) -> Video:
        video = ToyVideo(width, height, frames, raw)
        if width % 2:
            video.format = VideoFormat(width - 1, height)
            video.planes = [p[:, :, :w] for p, (_, w) in zip(video.planes, video.format.plane_shapes, strict=True)]
        return video


DEFECTS: Mapping[str, type[Toy]] = MappingProxyType(
    {
        "missing": BadMissing,
        "version": BadVersion,
        "settings": BadSettings,
        "rate_points": BadRatePoints,
        "rate_point": BadRatePoint,
        "estimates": BadEstimates,
        "encode": BadEncode,
        "decode_sealed": BadDecodeSealed,
        "same_frames_again": BadSameFramesAgain,
        "frames_as_described": BadFramesAsDescribed,
        "random_access": BadRandomAccess,
        "ledger": BadLedger,
        "signatures": BadSignatures,
        "same_bitstream_again": BadSameBitstreamAgain,
        "threads": BadThreads,
        "seed": BadSeed,
        "resume": BadResume,
        "damage": BadDamage,
        "odd_clips": BadOddClips,
    }
)
"""The check that fails, and the codec that makes it fail."""


def install_toy(folder: Path, defect: str | None = None) -> None:
    """Installs the codec `toy`, without or with a defect, into a folder that is to be put on the path."""
    info = folder / "contracttoy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: contracttoy\nVersion: 1\n")
    (folder / "contract_toy.py").write_text(Path(__file__).read_text())
    codec = Toy if defect is None else DEFECTS[defect]
    (info / "entry_points.txt").write_text(f"[rdbench.codecs]\ntoy = contract_toy:{codec.__name__}\n")
