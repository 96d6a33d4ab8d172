"""Curves and series: which rows one line may join, which are repetitions of each other, and what people call them.

A curve is one codec version with one set of settings on one clip, under one set of conditions, number of frames, seed
and device class. A series is the set of curves that are equal in all but the sequence and the seed; those two are
repetitions. Everything here works on the DataFrame of `results.load` and `published.load_any`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..errors import UsageError, did_you_mean
from .hull import crossed
from .results import QUALITY
from .series_labels import as_json, differing_settings, missing, series_labels, setting_text

CURVE = ["series", "dataset", "sequence", "seed"]
"""The columns of `labeled` that together name a curve."""
SERIES = (
    "codec", "preset", "settings", "version", "device", "precision", "conditions", "origin", "length", "clip",
)  # fmt: skip
"""What all curves of a series have in common; the columns of `attributes`."""
_REPORTED = "encoder_command"
"""A setting that the encoder reports: it holds the rate, so it differs at every rate point."""
_SITE = ["dataset", "sequence"]


def labeled(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the columns `series` (a number), `label`, `name` and `hull`; seeds that are not stated become 0.

    `label` is unique: the name that the codec is shown as, and what differs between its series; `name` is the label
    without the conditions, for tables that have a column for them. `hull`: whether a curve of the series is the upper
    convex hull of its rate points (`hull.py`). A frame that has these columns comes back as it is.
    """
    if "series" in frame:
        return frame
    frame = frame.reset_index(drop=True)
    frame = frame.assign(seed=pd.to_numeric(_column(frame, "seed")).fillna(0).astype(int))
    known = attributes(frame)
    series = pd.Series(_numbers(known), index=frame.index)
    lengths = _lengths(frame, series)
    each = known.assign(series=series, frames=series.map(lengths)).drop_duplicates("series").set_index("series")
    shown = _column(frame, "shown_as").groupby(series).first()
    hulls = series.isin(crossed(frame, series))
    each = each.assign(shown=_shown(each["codec"], shown), hull=hulls.groupby(series).first())
    labels, names = series_labels(each, _frames_differ(frame))
    return frame.assign(series=series, label=series.map(labels), name=series.map(names), hull=hulls)


def _shown(codecs: "pd.Series[Any]", titles: "pd.Series[Any]") -> list[str]:
    """What labels call each codec: its name with its options, the name replaced by a title where there is one."""
    options = [bracket + rest for _, bracket, rest in (str(codec).partition("[") for codec in codecs)]
    named = zip(codecs, options, titles.reindex(codecs.index), strict=True)
    return [str(codec) if missing(title) else f"{title}{rest}" for codec, rest, title in named]


def _numbers(known: pd.DataFrame) -> list[int]:
    """The series of each row: equal rows have equal numbers, in order of their first appearance."""
    numbers: dict[tuple[str, ...], int] = {}
    columns = [["\0" if missing(value) else str(value) for value in known[name].tolist()] for name in SERIES]
    return [numbers.setdefault(row, len(numbers)) for row in zip(*columns, strict=True)]


def attributes(frame: pd.DataFrame) -> pd.DataFrame:
    """What decides the series of each row, one column for each of `SERIES`, as text; None where it is not recorded.

    `length` is empty for the greatest number of frames of a sequence, since the sequences of one dataset may have
    other lengths; `origin` and `clip` are empty where they do not separate curves.
    """
    identity = _column(frame, "identity").map(_mapping)
    versions = _column(frame, "versions").map(_mapping)
    known = pd.DataFrame(index=frame.index, columns=list(SERIES), dtype=object)
    known["codec"] = frame["codec"].astype(str)
    known["conditions"] = _column(frame, "conditions").map(_text)
    known["preset"] = [
        (_text(preset) or "") if own else _text(preset)
        for own, preset in zip(identity.tolist(), _column(frame, "preset").tolist(), strict=True)
    ]
    known["version"] = [
        _text(own.get("version", v.get("codec"))) for own, v in zip(identity.tolist(), versions.tolist(), strict=True)
    ]  # fmt: skip
    devices = zip(identity.tolist(), _column(frame, "device").tolist(), strict=True)
    known["device"] = [_device(own.get("device", device)) for own, device in devices]
    known["precision"] = [_text(own.get("precision")) for own in identity.tolist()]
    known["settings"] = _settings(frame, known, identity)
    known["preset"] = _presets(known, identity)
    known["origin"] = _origins(frame, known)
    known["length"] = _several(frame, known, _column(frame, "frames").map(_count), keep_most=True)
    known["clip"] = _several(frame, known, _clips(frame, identity), keep_most=False)
    return known


def latest(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows of labeled curves with one record for each rate point, the one started last, and how many are left out.

    Two records of one rate point of one curve differ in what does not separate curves, as the number of threads.
    Rows of published curves all stay: their labels of rate points need not be unique.
    """
    started = _column(rows, "started").map(lambda value: _text(value) or "")
    order = rows.loc[started.sort_values(kind="stable").index]
    repeated = order.duplicated([*CURVE, "rate_point"], keep="last") & ~published(order)
    return rows.loc[rows.index.difference(order.index[repeated], sort=False)], int(repeated.sum())


def published(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each row comes from a file of published curves."""
    return _column(frame, "source").notna()


def distinctions(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns, as text, in which the curves of one codec of a labeled frame differ; none where all are alike.

    Conditions and frames are among them also where those of two codecs differ.
    """
    known = attributes(frame).assign(seed=frame["seed"], frames=_column(frame, "frames"))
    for _, own in known.groupby("codec"):
        names = differing_settings(own) if own["settings"].nunique() > 1 else []
        short = {
            text: " ".join(filter(None, (setting_text(text, name) for name in names)))
            for text in own["settings"].dropna().unique()
        }
        known.loc[own.index, "settings"] = [short.get(text, "") for text in own["settings"]]
        if own["version"].nunique() == 1:  # a long text that says nothing there
            known.loc[own.index, "version"] = ""
    rows = known.groupby("codec")
    found = [
        name for name in ("preset", "settings", "version", "device", "precision") if (rows[name].nunique() > 1).any()
    ]
    found += ["conditions"] if known["conditions"].nunique() > 1 else []
    found += ["frames"] if _frames_differ(frame) else []
    found += [name for name in ("seed", "origin", "clip") if (rows[name].nunique() > 1).any()]
    return known[found].rename(columns={"origin": "source"})


def choose(frame: pd.DataFrame, names: str | None) -> pd.DataFrame:
    """The labeled rows of the named codecs or labels, separated by commas; all of them without names.

    Raises UsageError for a name that is neither.
    """
    frame = labeled(frame)
    return frame if names is None else frame[frame["series"].isin(find(frame, names))]


def find(frame: pd.DataFrame, names: str) -> list[int]:
    """The numbers of the series of a labeled frame that the names, separated by commas, mean: codecs or labels.

    A label may hold commas itself; the longest one that matches counts. Raises UsageError.
    """
    known = _known_names(frame)
    words = _words(names)
    found: list[int] = []
    start = 0
    while start < len(words):
        ends = range(len(words), start, -1)
        end = next((end for end in ends if ", ".join(words[start:end]) in known), None)
        if end is None:
            everything = sorted({*frame["codec"], *frame["label"]})
            raise UsageError(
                f"There is no codec {words[start]!r} in these results{did_you_mean(words[start], everything)}"
            )
        found += known[", ".join(words[start:end])]
        start = end
    return list(dict.fromkeys(found))


def _known_names(frame: pd.DataFrame) -> dict[str, list[int]]:
    """The series by each of their names; a codec means all of its series."""
    known: dict[str, list[int]] = {}
    each = frame.drop_duplicates("series")
    for column in (name for name in ("label", "name", "own_label", "own_name", "codec") if name in each):
        own: dict[str, list[int]] = {}
        for text, number in zip(each[column], each["series"], strict=True):
            own.setdefault(", ".join(_words(str(text))), []).append(int(number))
        known |= own
    return known


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
    """The column, or an empty one where the frame lacks it; what is missing is None."""
    given = frame[name] if name in frame else pd.Series([None] * len(frame), index=frame.index, dtype=object)
    there = given.notna()
    if there.all():
        return given.astype(object)
    if not there.any():
        return pd.Series([None] * len(frame), index=frame.index, dtype=object)
    return pd.Series([None if missing(value) else value for value in given], index=frame.index, dtype=object)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return None if missing(value) else str(value)


def _device(value: Any) -> str | None:
    """The class of a device: `cuda` of `cuda:1`."""
    return None if missing(value) else str(value).split(":")[0]


def _count(value: Any) -> int | None:
    return None if missing(value) else int(value)


def _settings(frame: pd.DataFrame, known: pd.DataFrame, identity: "pd.Series[Any]") -> list[str | None]:
    """The codec's own settings as JSON; of records without an identity those alone that differ between their curves."""
    given = _column(frame, "settings").map(_mapping)
    texts: pd.Series[Any] = pd.Series(_own_settings(identity.tolist()), index=frame.index, dtype=object)
    old = texts.isna() & given.map(bool)
    keys = ["codec", "preset", "version", "device", "conditions"]
    for _, group in frame[old].groupby([known.loc[old, key].fillna("") for key in keys]):
        names = _differing(group.assign(settings=given[group.index]))
        for row in group.index:
            texts[row] = as_json({name: given[row].get(name) for name in names})
    return list(texts.where(texts.notna(), None))


def _own_settings(identities: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """The settings of each identity as JSON, None where it has none; of those that are written alike one is encoded."""
    known: dict[str, str] = {}
    return [
        None if "settings" not in own
        else known[text] if (text := repr(own["settings"])) in known
        else known.setdefault(text, as_json(own["settings"]))
        for own in identities
    ]  # fmt: skip


def _presets(known: pd.DataFrame, identity: "pd.Series[Any]") -> "pd.Series[Any]":
    """The presets, with one name for those that give a codec the same settings, as one that has no presets."""
    own = identity.map(lambda values: bool(values.get("settings"))).astype(bool)
    first = known.groupby([known["codec"], known["settings"].fillna("")])["preset"].transform("first")
    return known["preset"].where(~own, first)


def _differing(group: pd.DataFrame) -> list[str]:
    """The settings that are no function of the rate point: several values at one label, or one for each sequence."""
    names = sorted({name for settings in group["settings"] for name in settings} - {_REPORTED})
    sites = [group[column].map(str) for column in (*_SITE, "frames") if column in group]
    found = []
    for name in names:
        values = group["settings"].map(lambda settings, name=name: as_json(settings.get(name)))
        at_a_point = values.groupby([*sites, group["rate_point"]]).nunique()
        of_a_site = values.groupby(sites).nunique()
        if at_a_point.max() > 1 or (of_a_site.max() == 1 and values.nunique() > 1):
            found.append(name)
    return found


def _origins(frame: pd.DataFrame, known: pd.DataFrame) -> list[str]:
    """The sources of published rows where two of them state one metric of one codec on one sequence; else nothing.

    One source for PSNR and another for MS-SSIM is one curve each, which no line joins anyway.
    """
    sources = _column(frame, "source")
    rivals: set[tuple[str, str]] = set()
    for metric in (name for name in QUALITY if name in frame):
        rows = sources.notna() & frame[metric].notna()
        keys = [frame.loc[rows, column] for column in _SITE]
        codec, conditions = known.loc[rows, "codec"], known.loc[rows, "conditions"].fillna("")
        count = sources[rows].groupby([codec, conditions, *keys]).transform("nunique")
        rivals |= set(zip(codec[count > 1], conditions[count > 1], strict=True))
    if not rivals:
        return [""] * len(frame)
    pairs = zip(known["codec"], known["conditions"].fillna(""), strict=True)
    return [str(source) if source and pair in rivals else "" for source, pair in zip(sources, pairs, strict=True)]


def _clips(frame: pd.DataFrame, identity: "pd.Series[Any]") -> "pd.Series[Any]":
    """The beginning of the clip's hash, or its size where the hash is not recorded."""
    digests = _column(frame, "clip_sha256").tolist()
    hashes = [own.get("clip") or digest for own, digest in zip(identity.tolist(), digests, strict=True)]
    sizes = zip(_column(frame, "width").tolist(), _column(frame, "height").tolist(), strict=True)
    texts = [
        str(digest)[:8] if digest else None if None in (width, height) else f"{width:g}x{height:g}"
        for digest, (width, height) in zip(hashes, sizes, strict=True)
    ]
    return pd.Series(texts, index=frame.index, dtype=object)


def _several(frame: pd.DataFrame, known: pd.DataFrame, values: "pd.Series[Any]", keep_most: bool) -> "pd.Series[Any]":
    """The values as text where one sequence of an otherwise equal series has several, else nothing.

    With `keep_most` the greatest one is left empty, and only the others are named.
    """
    done = [column for column in SERIES if known[column].notna().any()]
    keys = [*(known[column].fillna("\0") for column in done), *(frame[column] for column in _SITE)]
    groups = values.groupby(keys)
    named = values.notna() & (groups.transform("nunique") > 1)
    if not named.any():
        return pd.Series("", index=values.index, dtype=object)
    if keep_most:
        named &= values != groups.transform(lambda group: group.dropna().max())
    return values.map(str).where(named, "")


def _lengths(frame: pd.DataFrame, series: "pd.Series[Any]") -> dict[int, str]:
    """The numbers of frames of each series in words; nothing where they are not recorded."""
    counts = pd.to_numeric(_column(frame, "frames")).dropna().groupby(series)
    return {int(number): _range(int(part.min()), int(part.max())) for number, part in counts}


def _range(low: int, high: int) -> str:
    if low != high:
        return f"{low} to {high} frames"
    return f"{low} frame{'s' if low != 1 else ''}"


def _frames_differ(frame: pd.DataFrame) -> bool:
    """Whether some sequence has records of several numbers of frames."""
    counts = pd.to_numeric(_column(frame, "frames")).dropna()
    return bool((counts.groupby([frame.loc[counts.index, column] for column in _SITE]).nunique() > 1).any())
