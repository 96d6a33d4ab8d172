"""Published curves beside measured ones: which were asked for, which compare, and where they come from."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import UsageError, did_you_mean
from . import curves
from .palette import family
from .panels import group_names
from .published import AVERAGE, SHIPPED, load_published, shipped_folder

OWN_PLACE = Path("results/published")
"""Where names look for their curves first, in the working folder; then among the shipped ones."""
_PUBLISHED = " (published)"


def load_overlay(given: Sequence[str], place: Path | None = None) -> pd.DataFrame:
    """The curves of `--published`: CSV files and folders of them, and names of codecs separated by commas.

    With names, only their curves, from the files that are given too, else from `place` (None: OWN_PLACE where it
    exists, else the shipped ones); these have the column `named`, and `chosen` keeps them whatever else is chosen.
    `published` means all of that place. Raises UsageError for a name that is neither.
    """
    given = [str(_place(place)) if text == SHIPPED and not Path(text).exists() else text for text in given]
    paths = [Path(text) for text in given if Path(text).exists()]
    names = [name.strip() for text in given if not Path(text).exists() for name in text.split(",") if name.strip()]
    if wrong := next((name for name in names if "/" in name or name.endswith(".csv")), None):
        raise UsageError(f"There is no {wrong}; name a CSV file of published curves, a folder of them, or codecs.")
    if not names:
        return load_published(paths)
    frame = load_published(paths or [_place(place)])
    found = [codec for name in names for codec in _codecs(frame, name)]
    return frame[frame["codec"].isin(found)].reset_index(drop=True).assign(named=True)


def _place(given: Path | None) -> Path:
    return given or (OWN_PLACE if OWN_PLACE.is_dir() else shipped_folder())


def _codecs(frame: pd.DataFrame, name: str) -> list[str]:
    """The codecs that a name means: one, or all of a family. Raises UsageError."""
    known = sorted(set(map(str, frame["codec"])))
    found = [codec for codec in known if name in (codec, family(codec))]
    if not found:
        families = [family(codec) for codec in known]
        raise UsageError(f"There are no published curves of {name!r}{did_you_mean(name, [*known, *families])}")
    return found


def comparable(frame: pd.DataFrame, overlay: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, str]:
    """The rows of an overlay that may stand beside the records, and a note where none may.

    They have the same dataset, conditions of the same name, the metric, and a sequence that was measured; an average
    over a dataset stands only beside means, where several of its sequences were measured.
    """
    near = overlay[group_names(overlay).isin(set(group_names(frame)))]
    known = near[near[metric].notna()] if metric in near else near.iloc[:0]
    measured = {str(name): set(part["sequence"]) for name, part in frame.groupby("dataset")}
    fitting = known[[
        len(measured[dataset]) > 1 if sequence == AVERAGE else sequence in measured[dataset]
        for dataset, sequence in zip(known["dataset"], known["sequence"], strict=True)
    ]]  # fmt: skip
    if len(fitting):
        return _without_repeated_averages(fitting), ""
    if len(known):
        return fitting, "The published curves are of other sequences, or averages over more, so none is shown."
    return fitting, _nothing(frame, overlay, near, metric)


def _without_repeated_averages(overlay: pd.DataFrame) -> pd.DataFrame:
    """The overlay without the published average of a codec whose curves on single sequences are there."""
    averages = overlay["sequence"] == AVERAGE
    single = (~averages).groupby([overlay[name] for name in ("codec", "dataset", "conditions")]).transform("any")
    return overlay[~(averages & single)]


def joined(frame: pd.DataFrame, overlay: pd.DataFrame) -> pd.DataFrame:
    """A labeled frame with an overlay below it, whose labels say that it is published."""
    extra = curves.labeled(overlay)
    marks = extra["sequence"].map(lambda name: " (published average)" if name == AVERAGE else _PUBLISHED)
    extra = extra.assign(
        series=extra["series"] + frame["series"].max() + 1, label=extra["label"] + marks, name=extra["name"] + marks
    )
    return pd.concat([frame.astype(object), extra.astype(object)], ignore_index=True).infer_objects()


def chosen(data: pd.DataFrame, codecs: str | None) -> pd.DataFrame:
    """The rows of `joined` that `curves.choose` chooses, and the published ones that were named."""
    if codecs is None or "named" not in data:
        return curves.choose(data, codecs)
    named = data["named"].fillna(False).astype(bool)
    return data[named | data["series"].isin(curves.find(data, codecs))]


def _nothing(frame: pd.DataFrame, overlay: pd.DataFrame, near: pd.DataFrame, metric: str) -> str:
    """Why no published curve stands beside the records."""
    if len(near):
        return f"No published curve has {metric} here, so none is shown."
    same = overlay[overlay["dataset"].isin(set(frame["dataset"]))]
    if same.empty:
        return f"No published curve is on {', '.join(sorted(set(map(str, frame['dataset']))))}, so none is shown."
    ours, theirs = (_conditions(part) for part in (frame, same))
    return f"No published curve has these conditions ({ours}; published: {theirs}), so none is shown."


def _conditions(frame: pd.DataFrame) -> str:
    names = sorted(set(frame["conditions"].astype(str).str.split("/").str[0]))
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def caption(sources: Sequence[tuple[str, str]]) -> list[str]:
    """The line that says where published curves come from, each source with its series; none without sources."""
    series: dict[str, list[str]] = {}
    for label, source in sources:
        own = series.setdefault(source.split(";")[0].strip(), [])
        name = label.removesuffix(_PUBLISHED)
        if name not in own:
            own.append(name)
    texts = [f"{', '.join(labels)} ({source})" for source, labels in series.items()]
    return [f"Published, not run here: {'; '.join(texts)}."] if texts else []
