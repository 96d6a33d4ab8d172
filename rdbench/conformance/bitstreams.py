"""What a codec writes and reads: bitstreams and frames."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codec import Clip
from ..errors import RdbenchError
from ..processes import describe_end
from ..registry import codec_source, find_card, sniff
from ..runner.reports import check_ledger, check_parts, check_report
from ..video import Frames, Video, VideoFormat
from ..video.checked import CheckedVideo
from ..video.chosen import seeks
from ..video.readers import MemoryVideo
from .check import NotApplicable, check
from .subject import Coded, ContractError, Subject

ENCODED = ("rate_points", "encode")
DECODED = (*ENCODED, "decode_sealed")
HEAD = 64
"""Bytes of a bitstream by which `rdbench decode` looks for its codec."""
FLIPS = 8
"""Single damaged bytes that are tried, spread over the bitstream (our choice)."""
DAMAGE_SECONDS = 300


class _Interrupt(BaseException):
    """Stops an encoder as Ctrl-C does."""


@check("rdbench/codec.py, Codec.encode and Workspace", needs=["rate_points"])
def encode(subject: Subject) -> None:
    """`encode` writes one file with something in it, and reports only plain values and shares of the work."""
    coded = subject.coded
    try:
        check_report(coded.workspace.report)
        check_parts(coded.workspace.stopwatch.seconds)
    except RdbenchError as error:
        raise ContractError(str(error)) from error
    for done, total, text in coded.calls:
        if not (isinstance(text, str) and total > 0 and 0 <= done <= total):
            raise ContractError(f"It reported progress({done!r}, {total!r}, {text!r}).")


@check("README.md, the first promise; rdbench/runner/seal.py", needs=ENCODED)
def decode_sealed(subject: Subject) -> None:
    """A fresh process decodes the bitstream in an empty folder: no clip, no settings, no file of the encoder."""
    fmt, hashes = subject.shown
    source = subject.video.format
    if (fmt.width, fmt.height) != (source.width, source.height):
        raise ContractError(f"It gave frames of {fmt.width}x{fmt.height}, and {source.width}x{source.height} went in.")
    if len(hashes) != subject.frames:
        raise ContractError(f"It gave {len(hashes)} frames, and {subject.frames} went in.")


@check("README.md, the third promise; rdbench/codec.py, Codec.decode", needs=DECODED)
def same_frames_again(subject: Subject) -> None:
    """Every decoding of a bitstream gives the same frames to the bit."""
    if subject.decode_sealed()[1] != subject.shown[1]:
        raise ContractError("Two fresh processes gave different frames.")


@check("rdbench/video/checked.py; rdbench/video/video.py, Video", needs=DECODED)
def frames_as_described(subject: Subject) -> None:
    """The video can be read twice in batches of any size, each as its format says, and gives the same frames."""
    with subject.decoded() as video:
        checked = CheckedVideo(video)
        one, three = (_planes(list(checked.batches(size))) for size in (1, 3))
        _compare(one, three, subject, "in batches of 1 and of 3")


@check("rdbench/video/video.py, Video.span", needs=(*DECODED, "frames_as_described"))
def random_access(subject: Subject) -> None:
    """`span(first, end)` gives exactly these frames, those that exist, and none behind the last."""
    with subject.decoded() as video:
        if not seeks(video):
            raise NotApplicable("This codec has no random access: its video has no span of its own.")
        whole, checked = _planes(list(video.batches())), CheckedVideo(video)
        first, end = min(1, subject.frames - 1), subject.frames
        part = list(checked.span(first, end, 1))
        if sum(map(len, part)) != end - first:
            raise ContractError(f"span({first}, {end}) gave {sum(map(len, part))} frames.")
        _compare([plane[first:end] for plane in whole], _planes(part), subject, f"whole and by span({first}, {end})")
        if list(checked.span(end, end + 5)):
            raise ContractError(f"span({end}, {end + 5}) gave frames behind the last one.")


def _planes(batches: Sequence[Frames]) -> list[npt.NDArray[Any]]:
    if not batches:
        raise ContractError("It gave no frames.")
    return [np.concatenate(planes) for planes in zip(*(batch.planes for batch in batches), strict=True)]


def _compare(
    one: Sequence[npt.NDArray[Any]], other: Sequence[npt.NDArray[Any]], subject: Subject, ways: str
) -> None:  # fmt: skip
    """Raises ContractError where the frames differ; those of networks may do so by a rounding."""
    allowed = 0 if subject.cls.kind == "conventional" else 1
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        if a.shape != b.shape:
            raise ContractError(f"Read {ways}, it gave {len(a)} and {len(b)} frames.")
        if (most := int(np.abs(a.astype(np.int64) - b).max(initial=0))) > allowed:
            raise ContractError(f"Read {ways}, the samples differ by up to {most} (plane {number}).")


@check("rdbench/codec.py, Codec.ledger", needs=ENCODED)
def ledger(subject: Subject) -> None:
    """The ledger's parts are whole numbers of bytes, and add up to the size of the file."""
    with subject.bitstream() as path:
        try:
            check_ledger(subject.cls.ledger(path), path.stat().st_size)
        except RdbenchError as error:
            raise ContractError(str(error)) from error


@check("rdbench/codec.py, Codec.signatures; rdbench/card.py", needs=ENCODED)
def signatures(subject: Subject) -> None:
    """Where a codec names the first bytes of its bitstreams, they begin so, and `rdbench decode` finds the codec."""
    known = find_card(subject.spec.name).signatures
    if not known:
        raise NotApplicable("This codec names no first bytes.")
    if not subject.coded.bitstream.startswith(tuple(known)):
        raise ContractError(f"The bitstream begins with {subject.coded.bitstream[:8]!r}, and not as signatures says.")
    if "/" not in subject.spec.name and (found := sniff(subject.coded.bitstream[:HEAD])) != subject.spec.name:
        raise ContractError(f"rdbench decode takes the bitstream for one of {found}.")


@check("README.md, the third promise", needs=ENCODED)
def same_bitstream_again(subject: Subject) -> None:
    """One seed, one number of threads and one clip give one bitstream, in whatever folder."""
    _same(subject, subject.encode("again"), "encoded again")


@check("rdbench/codec.py, Codec.threads_decide_bits", needs=(*ENCODED, "same_bitstream_again"))
def threads(subject: Subject) -> None:
    """A codec whose `threads_decide_bits` is False gives one bitstream, whatever the number of threads."""
    if subject.cls.threads_decide_bits:
        raise NotApplicable("This codec says that threads may decide its bits.")
    _same(subject, subject.encode("threads", threads=2), "encoded with two threads")


@check("rdbench/codec.py, Codec.uses_seed", needs=(*ENCODED, "same_bitstream_again"))
def seed(subject: Subject) -> None:
    """A codec whose `uses_seed` is False gives one bitstream, whatever the seed."""
    if subject.cls.uses_seed:
        raise NotApplicable("This codec says that its seed decides its bits.")
    _same(subject, subject.encode("seed", seed=1), "encoded with seed 1")


@check("rdbench/codec.py, Workspace.folder", needs=(*ENCODED, "same_bitstream_again"))
def resume(subject: Subject) -> None:
    """An encoder that was stopped half way and is started again in its folder ends with the same bitstream."""
    total, seen = len(subject.coded.calls), 0
    if total < 2:
        raise NotApplicable("This codec reports too little progress to be stopped half way.")

    def stop(done: float, whole: float, text: str) -> None:
        nonlocal seen
        seen += 1
        if seen > total // 2:
            raise _Interrupt

    try:
        subject.encode("stopped", watch=stop)
    except _Interrupt:
        _same(subject, subject.encode("stopped"), "stopped half way and started again")


def _same(subject: Subject, other: Coded, how: str) -> None:
    one, two = subject.coded.bitstream, other.bitstream
    if one != two:
        at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
        raise ContractError(f"The clip {how} gave {len(two)} bytes, not {len(one)}, different from byte {at} on.")


@check("rdbench/codec.py, Codec.decode; rdbench/errors.py", needs=DECODED)
def damage(subject: Subject) -> None:
    """A cut or damaged bitstream gives valid frames or one error sentence (BitstreamError), never another exception."""
    with tempfile.TemporaryDirectory(dir=subject.folder) as folder:
        files = write_damaged(subject.coded.bitstream, Path(folder))
        command = [
            sys.executable, "-P", "-m", "rdbench.conformance.damage", codec_source(subject.spec.name),
            json.dumps(asdict(subject.options)), *map(str, files),
        ]  # fmt: skip
        log = Path(folder) / "log"
        with log.open("wb") as errors:
            ran = subprocess.run(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, check=False, timeout=DAMAGE_SECONDS
            )
        outcomes = [json.loads(line) for line in ran.stdout.decode().splitlines() if line.startswith('["')]
        if ran.returncode != 0:
            what = files[len(outcomes)].stem if len(outcomes) < len(files) else "at its end"
            raise ContractError(f"{what}: {describe_end('decode', ran.returncode, log)}")
    for path, (kind, text) in zip(files, outcomes, strict=True):
        if kind == "raised":
            raise ContractError(f"The bitstream {path.stem}: decode raised {text}")
        if kind == "decoded" and path.stem == "without a byte":
            raise ContractError(f"The bitstream {path.stem} gave {text}.")


def write_damaged(bitstream: bytes, folder: Path) -> list[Path]:
    """Files with the bitstream cut or with one byte changed; their names say what was done."""
    size = len(bitstream)
    damaged = {"without a byte": b"", "cut after 1 byte": bitstream[:1], "with zeros only": b"\0" * size}
    for share in (0.1, 0.5, 0.9):
        damaged[f"cut after {share:.0%}"] = bitstream[: round(size * share)]
    damaged["cut by its last byte"] = bitstream[:-1]
    for number in range(FLIPS):
        at = (size - 1) * number // max(1, FLIPS - 1)
        damaged[f"with byte {at} changed"] = bitstream[:at] + bytes([bitstream[at] ^ 0x5A]) + bitstream[at + 1 :]
    paths = []
    for name, data in damaged.items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    return paths


@check("rdbench/codec.py, Codec.encode; rdbench/errors.py", needs=DECODED)
def odd_clips(subject: Subject) -> None:
    """A single frame, and frames of odd size, are coded or refused in one sentence (an RdbenchError)."""
    for name, width, height, frames in (("single", 64, 48, 1), ("odd", 65, 49, 2)):
        video = gradient(width, height, frames)
        try:
            subject.codec.rate_point(subject.point.label, Clip(video.format, frames))
            coded = subject.encode(name, video)
        except RdbenchError:
            continue
        (subject.folder / name / "alone").write_bytes(coded.bitstream)
        options = subject.options.workspace(subject.folder / name, "cpu")
        decoded = CheckedVideo(subject.cls.decode(subject.folder / name / "alone", options))
        shape = _planes(list(decoded.batches()))[0].shape
        if shape != (frames, height, width):
            raise ContractError(
                f"{frames} frames of {width}x{height} came back as {shape[0]} of {shape[2]}x{shape[1]}."
            )


def gradient(width: int, height: int, frames: int) -> Video:
    """A gradient that moves by three samples a frame: 4:2:0, 8 bit."""
    fmt = VideoFormat(width, height)
    t, y, x = np.mgrid[:frames, :height, :width]
    luma = (16 + (x + y + 3 * t) % 200).astype(np.uint8)
    chroma = [np.full((frames, *shape), 110 + 30 * k, np.uint8) for k, shape in enumerate(fmt.plane_shapes[1:])]
    return MemoryVideo(fmt, Frames((luma, *chroma)))
