"""Notes on a sweep that a user should read before its numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..clips import dataset
from ..errors import MediaError
from ..video.conditions import find_conditions
from ..video.ffmpeg import MATRICES, probe
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


def tagged_matrix(clip: dataset.Sequence, ffmpeg: str | None) -> str | None:
    """The name of the matrix that the clip's file is tagged with; None for raw frames, images, files without one."""
    path = Path(clip.path)
    if clip.kind == "raw" or not path.is_file():
        return None
    try:
        matrix = probe(path, ffmpeg).matrix
    except MediaError:
        return None
    return None if matrix is None else MATRICES[matrix]
