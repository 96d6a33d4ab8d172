"""Datasets as the user writes them: one, or several with commas between them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DatasetError, UsageError, did_you_mean
from .manifest import SHOWN, load_manifest


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


def split_specs(text: str, known: Mapping[str, Path]) -> list[str]:
    """`uvg:Jockey,Bosphorus,mcl_jcv` -> `uvg:Jockey,Bosphorus` and `mcl_jcv`. Raises UsageError, DatasetError.

    A part begins a dataset where it is the name of one (`known`), holds a colon, or is a path; `@` begins one too,
    except for a variant after the last sequence, as in `uvg:Jockey,Bosphorus@1920x960`. Any other part is a further
    sequence of the dataset before it, and so is a sequence of it that is named like a file here: `./Jockey` is the
    file. The text itself may be a path with commas.
    """
    if "," not in text or Path(text).expanduser().exists():
        return [text]
    specs: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        if specs and not _begins(part, specs[-1], known):
            specs[-1] = _extended(specs[-1], part, known)
            continue
        if specs:
            _check_ambiguous(part, specs[-1], known)
        specs.append(part)
    return specs or [text]


def _begins(part: str, before: str, known: Mapping[str, Path]) -> bool:
    name, at, _ = part.partition("@")
    if ":" in part or "/" in part or name in known or name.endswith(".toml") or name.startswith("~"):
        return True
    if ":" not in before:
        return bool(at) or Path(name).exists()
    return (bool(at) and "@" in before) or (Path(name).exists() and name.casefold() not in _sequences(before, known))


def _sequences(spec: str, known: Mapping[str, Path]) -> set[str]:
    """The names of the sequences of a dataset, and their aliases, in lower case; none of what is no dataset."""
    name = parse_spec(spec).name
    try:
        entries = load_manifest(known.get(name, Path(name).expanduser())).sequences
    except DatasetError:  # which the dataset itself will raise
        return set()
    return {name.casefold() for entry in entries for name in (entry.name, *entry.aliases)}


def _extended(spec: str, part: str, known: Mapping[str, Path]) -> str:
    """The dataset with one more sequence. Raises UsageError where it chooses no sequences that this could continue."""
    if ":" in spec:
        return f"{spec},{part}"
    raise UsageError(
        f"{part[:SHOWN]!r} after {spec[:SHOWN]!r} is no dataset, file or folder; a sequence is written "
        f"{spec[:SHOWN]}:{part[:SHOWN]}{did_you_mean(part, known)}"
    )


def _check_ambiguous(part: str, before: str, known: Mapping[str, Path]) -> None:
    """Raises UsageError for the name of a dataset that is also a sequence of the dataset whose sequences precede it."""
    if ":" in before and part in known and part.casefold() in _sequences(before, known):
        name = parse_spec(before).name
        raise UsageError(
            f"{part!r} is a dataset and a sequence of {name}; write {name}:{part} for the sequence, or put the dataset "
            f"{part} before {name}."
        )
