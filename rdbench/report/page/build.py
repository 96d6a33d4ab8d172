"""The data of a page, from records and published curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import RdbenchError, UsageError
from .. import curves, palette, tables
from ..overlays import load_overlay
from ..panels import group_names
from ..published import load_located
from ..selection import relabeled, sort
from ..where import where
from . import courses, differences, findings, rows


@dataclass(frozen=True)
class ReportOptions:
    """What a page is made of."""

    folders: tuple[Path, ...]
    """Folders of records, or CSV files of published curves."""
    output: Path
    """The page; links to the folders of records are relative to it."""
    published: tuple[str | Path, ...] = ()
    """Published curves to offer beside the records, off until a reader chooses them: files, folders, or names."""
    dataset: str | None = None
    codecs: str | None = None
    """Names of codecs or labels, separated by commas; None: all."""
    anchor: str | None = None
    """The series that the page compares with first; None: the one with most curves and points."""
    where: str | None = None
    """A condition on the records (`where.py`)."""
    labels: tuple[str, ...] = ()
    """New names of series, as `old=new`."""
    sort: str | None = None
    """A column to sort the records by; `-` before it: the greatest first."""
    known: tuple[str, ...] = ()
    """The names of all codecs that can be run, for colors that stay (`palette.py`)."""


def report_data(options: ReportOptions) -> dict[str, Any]:
    """All that the page shows, ready for JSON. Raises RdbenchError for folders without records, and wrong names."""
    frame, folders = load_located(options.folders)
    return _assembled(_rows(frame, options), folders, options)


def _assembled(frame: pd.DataFrame, folders: Mapping[str, Path], options: ReportOptions) -> dict[str, Any]:
    own = frame[frame["own"]]
    done = own[own["status"] == "ok"]
    if done.empty:
        raise RdbenchError("All of these jobs failed, so there is nothing to report; rdbench results says why.")
    anchor = _anchor(done, options.anchor)
    latest = curves.latest(frame[frame["status"] == "ok"])[0]
    compared, notes = differences.columns(latest[latest["own"]], anchor)
    packed, left_out = rows.columns(frame)
    frames, training = courses.frame_curves(frame, folders), courses.training_curves(frame, folders)
    if left_out:
        notes.append(f"To keep the page small, the records are without {', '.join(left_out)}; their folders have it.")
    return {
        "made": str(max(done["started"].dropna().astype(str), default=""))[:10],
        "series": _series(frame, options.known),
        "anchor": anchor,
        "anchor_chosen": options.anchor is not None,
        "count": len(frame),
        "columns": packed | _places(frame, latest, rows.links(list(frame["id"]), folders, options.output)),
        "bd": [_column(column, frame) for column in compared],
        "curves": {metric: differences.sampled(latest, metric) for metric in differences.METRICS},
        "grid": differences.GRID,
        "caveats": _caveats(own, compared),
        "frames": frames["rows"],
        "training": training["rows"],
        "fails": {"comparisons": [], "notes": []},
        "notes": [*notes, *courses.left_out_notes(frames, training)],
    }


def _rows(loaded: pd.DataFrame, options: ReportOptions) -> pd.DataFrame:
    """The labeled rows of what was loaded and is published, own ones first, with the columns `own` and `group`."""
    own = tables.only(loaded, options.dataset).assign(own=True)
    parts = [own]
    if options.published:
        overlay = load_overlay([str(given) for given in options.published])
        parts.append(overlay[overlay["dataset"].isin(set(own["dataset"]))].assign(own=False))
    frame = pd.concat([part.astype(object) for part in parts], ignore_index=True).infer_objects()
    frame = frame.assign(group=group_names(frame), source=frame.get("source"))
    frame = curves.labeled(frame[frame["group"].isin(set(frame.loc[frame["own"].astype(bool), "group"]))])
    for given in options.labels:
        frame = relabeled(frame, given)
    if options.where is not None:
        frame = where(frame, options.where)
    if options.codecs is not None:
        frame = frame[frame["series"].isin(curves.find(frame, options.codecs))]
    if options.sort is not None:
        frame = sort(frame, options.sort).sort_values("own", ascending=False, kind="stable")
    return _numbered(frame.assign(own=frame["own"].astype(bool)))


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with series numbered from 0 on in their order, and with labels as short as a group allows.

    A group has one set of test conditions as a rule, so that labels need not name them; overlaid curves are marked.
    """
    marks = frame["own"].map({True: "", False: " (published)"})
    names = frame["name"] + marks
    count = frame.groupby([frame["group"], names])["series"].transform("nunique")
    short = names.where(count == 1, frame["label"] + marks)
    numbers = pd.factorize(frame["series"])[0]
    return frame.assign(series=numbers, label=short).reset_index(drop=True)


def _anchor(rows_: pd.DataFrame, name: str | None) -> int:
    """The series that was asked for, else the one with most curves, and of several the one with most points."""
    if name is None:
        curves_of = rows_.drop_duplicates(curves.CURVE)["series"].value_counts()
        points_of = rows_["series"].value_counts()
        return int(min(curves_of.index, key=lambda number: (-curves_of[number], -points_of[number], number)))
    found = [number for number in curves.find(rows_, name) if number in set(rows_["series"])]
    if len(found) != 1:
        raise UsageError(f"The anchor {name} is {len(found)} series of these results; name one by its whole label.")
    return found[0]


def _series(frame: pd.DataFrame, known: Sequence[str]) -> list[dict[str, Any]]:
    """Label, codec, style and origin of each series, in the order of their numbers."""
    each = frame.drop_duplicates("series").sort_values("series")
    # Where the results themselves are published curves, these are what the page is about.
    alone = curves.published(frame[frame["own"]]).all()
    published = ~each["own"] if alone else curves.published(each)
    looks = palette.styles([str(name) for name in each["codec"]], known)
    return [
        {
            "label": str(row["label"]),
            "codec": str(row["codec"]),
            "hull": bool(row["hull"]),
            "published": bool(paper),
            "color": look.color,
            "marker": look.marker,
        }
        for row, paper, look in zip(each.to_dict("records"), published, looks, strict=True)
    ]


def _places(frame: pd.DataFrame, latest: pd.DataFrame, links: list[str | None]) -> dict[str, Any]:
    """The columns that place each row: its series and group, whether a curve uses it, and its folder."""
    codes, names = pd.factorize(frame["group"])
    return {
        "series": {"values": [int(number) for number in frame["series"]]},
        "group": {"values": [str(name) for name in names], "codes": codes.tolist()},
        "in_curve": {"values": [0, 1], "codes": frame.index.isin(latest.index).astype(int).tolist()},
        "folder": {"values": links},
    }


def _column(column: differences.Column, frame: pd.DataFrame) -> dict[str, Any]:
    """A column of the matrix with its sentences."""
    labels = [str(label) for label in frame.drop_duplicates("series").sort_values("series")["label"]]
    found = findings.findings(column, labels)
    return {
        "group": column.group, "metric": column.metric, "anchor": column.anchor, "cells": column.cells,
        "findings": [{"series": one.series, "text": one.text, "claim": one.claim} for one in found],
    }  # fmt: skip


def _caveats(own: pd.DataFrame, compared: Sequence[differences.Column]) -> dict[str, list[str]]:
    """The caveats of each group."""
    found = {}
    for group, part in own.groupby("group", sort=False):
        measured = part[~curves.published(part)]
        columns = [column for column in compared if column.group == group]
        found[str(group)] = findings.caveats(measured, columns) if len(measured) else [findings.ALL_PUBLISHED]
    return found
