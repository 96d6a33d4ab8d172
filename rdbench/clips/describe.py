"""`rdbench datasets`: a table of all datasets, and all that is known of one."""

import textwrap
from pathlib import Path

from ..errors import DatasetError, UsageError, did_you_mean
from .dataset import Sequence, check_file, data_root, resolve
from .manifest import Entry, Manifest, Variant, archive_places, find_datasets, load_manifest, places_of

WIDTH = 80
"""Columns of a terminal."""


def dataset_table(root: Path | None = None) -> list[str]:
    """A line for each dataset, of at most WIDTH columns unless a name is long. Raises DatasetError."""
    known = find_datasets()
    rows = [("name", "size", "frames/s", "sequences", "files")]
    rows += [_row(name, path, root) for name, path in known.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join((*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4])).rstrip()
        for row in rows
    ]


def _row(name: str, path: Path, root: Path | None) -> tuple[str, str, str, str, str]:
    try:
        manifest = load_manifest(path)
    except DatasetError:
        return name, "?", "?", "?", f"wrong manifest: rdbench datasets {name}"
    rates = sorted({float(entry.frame_rate or manifest.frame_rate) for entry in manifest.sequences})
    shown = f"{rates[0]:.5g}" + (f" to {rates[-1]:.5g}" if len(rates) > 1 else "")
    return (
        name,
        f"{manifest.width}x{manifest.height}",
        shown,
        str(len(manifest.sequences)),
        _state(name, path, manifest, root),
    )


def _state(name: str, path: Path, manifest: Manifest, root: Path | None) -> str:
    """`here`, or how many files are missing and the way to them, in a few words."""
    try:
        sequences = resolve(name, root)
    except DatasetError as error:
        return "package missing" if "package" in str(error) else "unusable"
    missing = [sequence for sequence in sequences if _problem(sequence) is not None]
    if not missing:
        return "here"
    names = {sequence.name for sequence in missing}
    wanted = [entry for entry in manifest.sequences if entry.name in names]
    count = "missing" if len(missing) == len(sequences) else f"{len(missing)} missing"
    return f"{count}, {'can be fetched' if all(_can_fetch(e, path, root) for e in wanted) else 'get by hand'}"


def _can_fetch(entry: Entry, path: Path, root: Path | None) -> bool:
    places = archive_places(entry, path, data_root(root))
    return entry.url is not None or any(place.exists() for place in places)


def _problem(sequence: Sequence) -> str | None:
    """`missing` or what else is wrong with the file, without its checksum; None where nothing is."""
    if not Path(sequence.path).exists():
        return "missing"
    try:
        check_file(sequence, checksum=False)
    except DatasetError as error:
        return str(error)
    return None


def describe_dataset(name: str, root: Path | None = None) -> list[str]:
    """All that is known of a dataset, or of a manifest (.toml) of the user. Raises UsageError, DatasetError."""
    known = find_datasets()
    own = name not in known
    path = known.get(name, Path(name).expanduser())
    if own and (path.suffix != ".toml" or not path.exists()):
        raise UsageError(f"There is no dataset or manifest {name!r}{did_you_mean(name, known)}")
    manifest, folder = load_manifest(path), data_root(root)
    lines = [
        f"{name}: {manifest.title}",
        *_field("homepage", manifest.homepage),
        *_field("license", manifest.license),
        *_field("to get it", manifest.get),
        *_field("format", _format(manifest)),
        *_field("sizes", f"{', '.join(f'{size:,}' for size in manifest.sizes) or 'none'} (parameters of networks)"),
        *_field("data in", str(folder)),
        *_field("manifest", str(path)),
        "variants:" if manifest.variants else "variants: none",
        *(
            line
            for variant, value in manifest.variants.items()
            for line in _field(f"{path.stem}@{variant}", _variant(value))
        ),
        "sequences:",
    ]
    for entry in manifest.sequences:
        lines += _entry_lines(entry, manifest, path, folder, own)
    return lines


def _field(key: str, text: str) -> list[str]:
    return textwrap.wrap(
        f"{key}: {text}", WIDTH, initial_indent="  ", subsequent_indent="    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _format(manifest: Manifest) -> str:
    return (
        f"{manifest.width}x{manifest.height}, {manifest.chroma}, {manifest.bit_depth} bit, "
        f"{manifest.frame_rate} frames a second"
    )


def _variant(variant: Variant) -> str:
    parts = [
        None if variant.frames is None else f"frames {variant.frames[0]} to {variant.frames[1] - 1}",
        None if variant.crop is None else f"a centered crop to {variant.crop[0]}x{variant.crop[1]}",
        None if variant.scale is None else f"scaled to {variant.scale[0]}x{variant.scale[1]}",
        None if variant.sizes is None else f"sizes {', '.join(f'{size:,}' for size in variant.sizes)}",
    ]
    return ", ".join(part for part in parts if part is not None) or "as the whole"


def _entry_lines(entry: Entry, manifest: Manifest, path: Path, root: Path, own: bool) -> list[str]:
    """A sequence: what the manifest says of it, its addresses, and where it was found."""
    size = manifest.expected_bytes(entry)
    facts = [
        f"{entry.frame_rate or manifest.frame_rate} frames a second",
        f"{entry.frames or 'unknown number of'} frames",
        f"{'unknown number of' if size is None else f'{size:,}'} bytes",
    ]
    named = f" (also {', '.join(entry.aliases)})" if entry.aliases else ""
    values = {
        "sha256": entry.sha256, "sha256 of the frames": entry.frames_sha256, "file": entry.file,
        "inside of": entry.distribution and f"the Python package {entry.distribution}", "archive": entry.archive,
        "inside of the archive": entry.inner, "sha256 of the archive": entry.download_sha256,
    }  # fmt: skip
    lines = [f"  {entry.name}{named}: {', '.join(facts)}"]
    lines += [f"    {key}: {value}" for key, value in values.items() if value is not None]
    lines += [f"    {'address' if number == 0 else 'mirror'}: {url}" for number, url in enumerate(entry.addresses)]
    return [*lines, f"    {_found(entry, path, root, own)}"]


def _found(entry: Entry, path: Path, root: Path, own: bool) -> str:
    try:
        places = places_of(entry, path, root, own)
    except DatasetError as error:
        return str(error)
    if (place := next((place for place in places if place.exists()), None)) is not None:
        return f"found: {place} ({place.stat().st_size:,} bytes)"
    packed = next((place for place in archive_places(entry, path, root, own) if place.exists()), None)
    if packed is not None:
        return f"not unpacked yet: {packed}; run `rdbench datasets fetch {path if own else path.stem}`"
    return "not found here"
