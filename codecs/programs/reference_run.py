"""Runs HM and VTM: pieces in parallel with progress, the decoder alone, the check of its output."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rdbench.codec import Workspace
from rdbench.errors import BitstreamError, EncoderError
from rdbench.processes import describe_status, read_log_tail
from rdbench.video import VideoFormat

from .process import ProgramFailed, Task, run_all
from .reference_log import check_verdicts, count_pictures, describe_time, read_summary
from .reference_programs import Program, Software
from .segments import Piece

CHUNK = 1 << 24
"""Bytes that are compared at a time."""


def encode_pieces(
    software: Software, encoder: Program, commands: Sequence[Sequence[str]], pieces: Sequence[Piece],
    outputs: Sequence[Path], workspace: Workspace,
) -> None:  # fmt: skip
    """Encodes every piece and reports the CPU time. Raises EncoderError with the reason in the encoder's log."""
    tasks = [
        Task(command, output.parent, output.with_suffix(".log"))
        for command, output in zip(commands, outputs, strict=True)
    ]
    total, start = sum(piece.frames for piece in pieces), time.monotonic()

    def show() -> None:
        done = sum(count_pictures(_read(task.log)) for task in tasks)
        left = describe_time((time.monotonic() - start) / done * (total - done)) if done else "unknown time"
        workspace.progress(done, total, f"{done} of {total} frames coded, {left} left")

    try:
        run_all(tasks, workspace.threads, show)
    except OSError as error:
        raise EncoderError(f"{encoder.path} cannot be run ({error}); build it for this machine.") from error
    except ProgramFailed as error:
        raise EncoderError(_explain_failure(software, encoder, error, tasks, pieces)) from error
    workspace.report["encoder_seconds"] = sum(
        _check_log(software, encoder, task.log, piece) for task, piece in zip(tasks, pieces, strict=True)
    )


def _read(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


def _explain_failure(
    software: Software, encoder: Program, error: ProgramFailed, tasks: Sequence[Task], pieces: Sequence[Piece]
) -> str:
    piece, log = pieces[tasks.index(error.task)], error.task.log
    done = f"after {count_pictures(_read(log))} of {piece.frames} frames"
    name = f"{software.title} {encoder.version}"
    if error.status < 0:
        return f"{name} was ended by {describe_status(error.status)} {done}; free some memory and run again."
    return f"{name} failed with {describe_status(error.status)} {done}; its whole log is {log}: {read_log_tail(log)}"


def _check_log(software: Software, encoder: Program, log: Path, piece: Piece) -> float:
    """The CPU seconds. Raises EncoderError for a log that does not list every frame."""
    text = _read(log)
    summary, pictures = read_summary(text), count_pictures(text)
    if summary is None or pictures != piece.frames or summary.frames != piece.frames:
        raise EncoderError(
            f"The log of {software.title} {encoder.version} is in an unknown format or incomplete: it tells of "
            f"{pictures} pictures where {piece.frames} were to be coded ({log}); use a release build of the software."
        )
    return summary.seconds


def decode_alone(software: Software, decoder: Program, bitstream: Path, output: Path) -> str:
    """Decodes in an empty folder, at the bit depth of the stream; returns the log. Raises BitstreamError."""
    output.unlink(missing_ok=True)
    log = output.with_suffix(".log")
    with tempfile.TemporaryDirectory() as empty:
        command = [str(decoder.path), "-b", str(bitstream), "-o", str(output), "-d", "0"]
        try:
            run_all([Task(command, Path(empty), log)], 1)
        except OSError as error:
            raise EncoderError(f"{decoder.path} cannot be run ({error}); build it for this machine.") from error
        except ProgramFailed as error:
            check_verdicts(_read(log), software.title)
            raise BitstreamError(
                f"{software.title} {decoder.version} cannot decode {bitstream} ({describe_status(error.status)}); "
                f"it is cut short or damaged, or of another version: {read_log_tail(log, 3)}"
            ) from error
    if not output.exists() or output.stat().st_size == 0:
        raise BitstreamError(f"{software.title} {decoder.version} decodes no picture of {bitstream}; encode it again.")
    return _read(log)


def check_reconstruction(
    software: Software, decoder: Program, stream: Path, outputs: Sequence[tuple[Piece, Path]], fmt: VideoFormat
) -> None:
    """Decodes the stream alone and checks every MD5 and, against the encoder's reconstruction, every sample.

    Raises BitstreamError.
    """
    decoded = stream.with_suffix(".decoded.yuv")
    verified = check_verdicts(decode_alone(software, decoder, stream, decoded), software.title)
    frames = sum(piece.frames for piece, _ in outputs) - (len(outputs) - 1)
    if verified != frames:
        raise BitstreamError(
            f"{software.title} confirmed the MD5 of {verified} pictures where {frames} were coded; "
            "do not set SEIDecodedPictureHash, and use one build for encoding and decoding."
        )
    parts = [
        (output.with_suffix(".yuv"), fmt.frame_bytes if piece.start else 0, fmt.frame_bytes * piece.frames)
        for piece, output in outputs
    ]
    if not _same(decoded, parts):
        raise BitstreamError(
            f"What {software.title} decodes is not what its encoder reconstructed; "
            "encode with segments=1, or use one build for encoding and decoding."
        )
    for path in (decoded, *(path for path, _, _ in parts)):
        path.unlink()


def _same(decoded: Path, parts: Sequence[tuple[Path, int, int]]) -> bool:
    """Whether the file equals the bytes `begin` to `end` of the parts, one after the other."""
    if decoded.stat().st_size != sum(end - begin for _, begin, end in parts):
        return False
    with decoded.open("rb") as whole:
        for path, begin, end in parts:
            with path.open("rb") as part:
                part.seek(begin)
                if path.stat().st_size != end:
                    return False
                while chunk := part.read(CHUNK):
                    if whole.read(len(chunk)) != chunk:
                        return False
    return True
