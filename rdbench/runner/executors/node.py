"""A job on another machine: it finds its clip and what it shares there, and its files come back as bytes."""

import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from ...clips import dataset
from ...codec import FIT_CURVE
from ...errors import RdbenchError
from ...report.results import RECORD, Record, read_record
from ..answers import shared_key
from ..checksum import checksum_path
from ..files import BITSTREAM, ENCODING, FRAMES, LOG
from ..job import run_job
from ..resume import job_folder, shared_folder
from ..sweep import Job

Files = Mapping[str, bytes]
"""Contents of files by their names in a folder."""
Fetch = Callable[[], Files]
"""Gets files from the machine that started the run."""

OUTPUTS = (BITSTREAM, checksum_path(Path(BITSTREAM)).name, ENCODING, FIT_CURVE, FRAMES, LOG, RECORD)
LARGEST_CLIP = 4 << 30
"""Bytes of the largest clip that is sent to a machine that does not have it (our choice)."""


@dataclass(frozen=True)
class Outcome:
    """What comes back from a machine."""

    files: Files = field(default_factory=dict)
    """The job's files; empty where the machine wrote them into the output folder itself."""
    artifact: Files = field(default_factory=dict)
    """Files that the job made for others with which it shares them, with those in `files`."""
    lacks_clip: bool = False
    """Whether nothing was done because the clip is not there; the job can run with the clip's files."""


def run_on_node(
    description: str, out: Path, token: str, artifact: Fetch | None = None, clip: Fetch | None = None
) -> Outcome:
    """Runs the job that `description` gives as JSON.

    Where the folder `out` holds a file `token` on this machine too, it is on a shared disk: the job works there, so
    that its checkpoints survive this machine. Elsewhere it works in a scratch folder and its files come back;
    `artifact` then gets what other jobs made for it.
    """
    job = Job.from_json(description)
    with tempfile.TemporaryDirectory() as scratch:
        found = _with_clip(job, clip, Path(scratch) / "clip")
        if found is None:
            return Outcome(lacks_clip=True)
        if (out / token).exists() and os.access(out, os.W_OK):
            _run(found, out)
            return Outcome()
        place = Path(scratch) / "out"
        key = shared_key(job)
        shared = None if key is None else shared_folder(place, found) / key
        if shared is not None and artifact is not None:
            write_files(shared, artifact())
            (shared / "done").touch()
        _run(found, place)
        made = read_files(shared) if shared is not None and artifact is None and (shared / "done").exists() else {}
        return Outcome(read_files(job_folder(place, found), OUTPUTS), made)


def _run(job: Job, out: Path) -> Record:
    return run_job(job, out, lambda done, total, text: None, threading.Event())


def _with_clip(job: Job, clip: Fetch | None, scratch: Path) -> Job | None:
    """The job with the path of its clip on this machine; None where that is not here.

    The clip is at the same path, or where a manifest of this machine says, and has the frames of the job's checksum.
    """
    with suppress(RdbenchError, OSError):
        if _has_frames(job, job.clip):
            return job
    with suppress(RdbenchError, OSError):
        root = Path(job.data_root) if job.data_root and Path(job.data_root).is_dir() else None
        (listed,) = dataset.resolve(f"{job.clip.label}:{job.clip.name}", root, job.ffmpeg)
        if _has_frames(job, listed):
            return replace(job, sequence=listed.to_dict())
    if clip is None:
        return None
    write_files(scratch, clip())
    name = Path(job.clip.path).name
    sent = replace(job.clip, path=str(scratch / name))
    return replace(job, sequence=sent.to_dict())


def _has_frames(job: Job, clip: dataset.Sequence) -> bool:
    """Whether this machine has the frames of the job. Raises RdbenchError where it does not have the clip at all."""
    return dataset.content_sha256(clip, job.frames, job.ffmpeg) == job.clip_sha256


def clip_files(path: Path) -> Files | None:
    """The clip's files to be sent: one file, or a folder of images; None for more than LARGEST_CLIP."""
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    if sum(file.stat().st_size for file in files) > LARGEST_CLIP:
        return None
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in files}


def read_files(folder: Path, names: tuple[str, ...] | None = None) -> Files:
    """The files in the folder, or those of them with these names; hidden ones (locks) are left out."""
    found = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return {name: (folder / name).read_bytes() for name in found if names is None or name in names}


def write_files(folder: Path, files: Files) -> None:
    """Writes the files below the folder in their order, each of them whole or not at all."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
        partial.write_bytes(content)
        partial.replace(path)


def keep(job: Job, out: Path, outcome: Outcome) -> Record:
    """Writes what came back below `out`, the record last; returns the record. Raises RdbenchError without one."""
    folder, key = job_folder(out, job), shared_key(job)
    if outcome.artifact and key is not None:
        artifact = {name: content for name, content in outcome.artifact.items() if name != "done"}
        write_files(shared_folder(out, job) / key, {**artifact, "done": b""})
    write_files(folder, {name: outcome.files[name] for name in OUTPUTS if name in outcome.files})
    return read_record(folder / RECORD)
