"""Notes on a sweep that a user should read before its numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..clips import dataset
from ..errors import MediaError
from ..video.conditions import find_conditions
from ..video.ffmpeg import MATRICES, VideoStream, probe
from ..video.readers import list_images
from .sweep import Job

_NAMES = {"bt601": "BT.601", "bt709": "BT.709"}


def color_notes(jobs: Sequence[Job]) -> Iterator[str]:
    """A sentence for each clip whose file is tagged with another matrix than the conditions convert with."""
    clips = {(job.clip.label, job.clip.name, job.conditions): job for job in jobs}
    for (label, name, chosen), job in clips.items():
        conditions = find_conditions(chosen)
        used, tagged = _NAMES[conditions.matrix], tagged_matrix(job.clip, job.ffmpeg)
        if conditions.domain == "rgb" and tagged not in (None, used):
            yield (
                f"Note: {label}:{name} is tagged {tagged}; {chosen} converts it by {used} all the same, for the source "
                "and what is decoded alike."
            )


def alpha_notes(jobs: Sequence[Job]) -> Iterator[str]:
    """A sentence for each clip with an alpha plane, which no codec gets."""
    clips = {(job.clip.label, job.clip.name): job for job in jobs}
    for job in clips.values():
        if (note := alpha_note(job.clip, job.ffmpeg)) is not None:
            yield note


def clip_notes(jobs: Sequence[Job]) -> Iterator[str]:
    """Sentences on the clips without a hash, whose jobs have no id: those that are missing, and all others."""
    clips = list(dict.fromkeys(job.clip for job in jobs if job.clip_sha256 is None))
    missing: dict[tuple[str, str], list[str]] = {}
    for clip in clips:
        if not Path(clip.path).exists():
            missing.setdefault((clip.label, clip.remedy), []).append(clip.name)
    for (label, remedy), names in missing.items():
        yield f"Note: {label}:{','.join(names)} {'is' if len(names) == 1 else 'are'} not here. {remedy}".strip()
    waiting = [f"{clip.label}:{clip.name}" for clip in clips if Path(clip.path).exists()]
    if waiting:
        yield (
            f"Note: {', '.join(waiting)}: not hashed yet, so that the jobs have no id and may be done already; "
            "`rdbench run` hashes a clip once."
        )


def alpha_note(clip: dataset.Sequence, ffmpeg: str | None) -> str | None:
    """The sentence on the clip's alpha plane; None where it has none."""
    stream = _probe_file(clip, ffmpeg)
    if stream is None or not stream.alpha:
        return None
    return f"Note: the alpha plane of {clip.label}:{clip.name} is left out; only its colors are coded and measured."


def tagged_matrix(clip: dataset.Sequence, ffmpeg: str | None) -> str | None:
    """The name of the matrix that the clip's file is tagged with; None for raw frames, images, files without one."""
    stream = _probe_file(clip, ffmpeg) if Path(clip.path).is_file() else None
    return None if stream is None or stream.matrix is None else MATRICES[stream.matrix]


def _probe_file(clip: dataset.Sequence, ffmpeg: str | None) -> VideoStream | None:
    """What ffmpeg says of the clip's file, or of the first image of its folder; None for raw frames."""
    return None if clip.kind == "raw" else _probe_path(Path(clip.path), ffmpeg)


def _probe_path(path: Path, ffmpeg: str | None) -> VideoStream | None:
    try:
        return probe(list_images(path)[0] if path.is_dir() else path, ffmpeg)
    except MediaError:
        return None
