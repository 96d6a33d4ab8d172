"""Which rows are one curve, which curves one series, and what they are called."""

from itertools import product
from typing import Any

import pandas as pd
import pytest
from report.synthetic import frames, new, old

from rdbench.errors import UsageError
from rdbench.report.curves import CURVE, choose, distinctions, find, labeled, latest


def labels(frame: pd.DataFrame) -> list[str]:
    return sorted(set(labeled(frame)["label"]))


OTHERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"version": "2"}, ["nerv, version 1", "nerv, version 2"]),
    ({"preset": "quick", "settings": {"epochs": 3}}, ["nerv, no preset", "nerv, preset quick"]),
    ({"settings": {"epochs": 3}}, ["nerv, epochs=300", "nerv, epochs=3"]),
    ({"device": "cuda"}, ["nerv, cpu", "nerv, cuda"]),
    ({"precision": "bfloat16"}, ["nerv, float32", "nerv, bfloat16"]),
    ({"conditions": "rgb709/2b"}, ["nerv, rgb601/1a", "nerv, rgb709/2b"]),
    ({"frames": 4}, ["nerv, 8 frames", "nerv, 4 frames"]),
    ({"clip_sha256": "another one"}, ["nerv, clip of A", "nerv, clip another "]),
]


@pytest.mark.parametrize(("changes", "expected"), OTHERS)
def test_what_makes_another_series_and_what_its_label_says(changes: dict[str, Any], expected: list[str]) -> None:
    first = {"settings": {"epochs": 300}}
    both = labeled(frames(new("nerv", **first), new("nerv", **(first | changes)), new("x265")))
    assert both.groupby("label")["series"].nunique().eq(1).all()
    mine = both[both["codec"] == "nerv"]
    assert list(dict.fromkeys(mine["label"])) == expected
    assert mine.groupby(CURVE).size().tolist() == [4, 4]


def test_conditions_and_frames_are_named_where_other_codecs_differ_and_nothing_else_is() -> None:
    versions = frames(new("nerv", version="nerv-1", preset="quick"), new("x265", version="libx265", device="cuda"))
    assert labels(versions) == ["nerv", "x265"]
    assert labels(frames(new("nerv"), new("x265", frames=4))) == ["nerv, 8 frames", "x265, 4 frames"]
    assert labels(frames(new("nerv"), new("x265", conditions="yuv420/3c"))) == ["nerv, rgb601/1a", "x265, yuv420/3c"]
    assert labeled(frames(new("nerv"), new("x265", conditions="yuv420/3c")))["name"].unique().tolist() == [
        "nerv",
        "x265",
    ]


def test_only_the_words_that_differ_between_versions_are_named() -> None:
    texts = ("libx265 4.2 via ffmpeg n9", "libx265 4.3 via ffmpeg n9")
    assert labels(frames(*(new("x265", version=text) for text in texts))) == ["x265, version 4.2", "x265, version 4.3"]


def test_labels_are_unique() -> None:
    parts = [
        new("nerv", version=version, preset=preset, device=device, frames=count, settings={"a": a, "b": 1})
        for version, preset, device, count, a in product(("1", "1 b"), (None, "quick"), ("cpu", "cuda"), (4, 8), (1, 2))
    ]
    frame = labeled(frames(*parts, old("nerv", versions={"codec": "1"}), old("nerv", device=None)))
    pairs = frame.drop_duplicates(["series", "label"])
    assert len(pairs) == frame["series"].nunique() == frame["label"].nunique() == 18


def test_a_codec_may_be_shown_under_another_name() -> None:
    parts = (new("x265"), new("a[b=1]", shown_as="A-style"), new("a[b=2]", shown_as="A-style"), new("c", shown_as="C"))
    frame = labeled(frames(*parts))
    assert sorted(set(frame["label"])) == ["A-style[b=1]", "A-style[b=2]", "C", "x265"]
    assert set(choose(frame, "c,A-style[b=2]")["codec"]) == {"c", "a[b=2]"}
    several = labeled(frames(new("c", shown_as="C", preset="quick"), new("c", shown_as="C", preset="tiny")))
    assert sorted(set(several["label"])) == ["C, preset quick", "C, preset tiny"]


def test_a_failed_record_does_not_hide_the_name_that_others_have() -> None:
    frame = frames(new("c"), new("c", "B", shown_as="C"))
    assert set(labeled(frame)["label"]) == {"C"}


def test_seeds_and_sequences_are_repetitions() -> None:
    frame = labeled(frames(*(new("nerv", sequence, seed=seed) for sequence in "AB" for seed in (0, 1, 2))))
    assert frame["label"].unique().tolist() == ["nerv"]
    assert frame.groupby(CURVE).size().tolist() == [4] * 6


def test_threads_do_not_separate_curves_and_the_later_record_of_a_point_counts() -> None:
    frame = labeled(frames(new("x264", threads=1), new("x264", lift=1.0, threads=4, started="2026-01-02")))
    assert frame["series"].nunique() == 1
    kept, repeated = latest(frame)
    assert repeated == 4
    assert kept["psnr_rgb"].tolist() == [31, 34, 37, 40]


def test_sequences_of_other_lengths_are_one_series_until_one_occurs_with_two() -> None:
    lengths = frames(new("nerv", "Beauty", frames=600), new("nerv", "ShakeNDry", frames=300))
    assert labels(lengths) == ["nerv"]
    frame = labeled(frames(lengths, new("nerv", "Beauty", frames=300)))
    found = {
        label: sorted(set(zip(part["sequence"], part["frames"], strict=True))) for label, part in frame.groupby("label")
    }
    assert found == {
        "nerv, 300 to 600 frames": [("Beauty", 600), ("ShakeNDry", 300)],
        "nerv, 300 frames": [("Beauty", 300)],
    }


def old_points(sequence: str = "A", **settings: Any) -> pd.DataFrame:
    frame = old("nerv", sequence, versions={"codec": "nerv-1"})
    each = [settings | {"size": 1000 * i, "encoder_command": f"-size {i} {settings}"} for i in range(4)]
    return frame.assign(settings=pd.Series(each, dtype=object))


def test_settings_of_older_records_separate_curves_unless_they_are_the_points_own() -> None:
    assert labels(old_points(epochs=3)) == ["nerv"]
    assert labels(frames(old_points(epochs=3), old_points(epochs=300))) == ["nerv, epochs=3", "nerv, epochs=300"]
    assert labels(frames(old_points("A", epochs=3), old_points("B", epochs=300))) == [
        "nerv, epochs=3",
        "nerv, epochs=300",
    ]
    assert labels(frames(old_points("A", epochs=3), old_points("B", epochs=3))) == ["nerv"]


def test_older_records_are_separated_by_version_device_conditions_and_frames() -> None:
    first = old("x265", versions={"codec": "4.2"})
    for changes in ({"versions": {"codec": "4.3"}}, {"device": "cuda:1"}, {"conditions": "b"}, {"frames": 4}):
        other = old("x265", **({"versions": {"codec": "4.2"}} | changes))
        assert labeled(frames(first, other))["series"].nunique() == 2
    assert labeled(frames(first, old("x265", versions={"codec": "4.2"}, seed=1)))["series"].nunique() == 1


def published(source: str, **changes: Any) -> pd.DataFrame:
    columns = ["codec", "dataset", "sequence", "rate_point", "conditions", "status", "bpp", "psnr_rgb"]
    return old("c3")[columns].assign(source=source, **changes)


def test_published_rows_have_few_columns_and_two_sources_of_one_metric_do_not_mix() -> None:
    assert labels(published("paper")) == ["c3"]
    assert labels(pd.concat([published("paper"), published("page")])) == ["c3, from page", "c3, from paper"]
    other = published("page", psnr_rgb=None, ms_ssim=0.9)
    assert labels(pd.concat([published("paper"), other])) == ["c3"]
    assert labels(frames(published("paper"), old("x265", conditions="rgb601/9"))) == ["c3, rgb601/1a", "x265, rgb601/9"]


def test_names_choose_codecs_or_labels_that_may_hold_commas() -> None:
    frame = labeled(frames(new("nerv", preset="quick"), new("nerv"), new("x265[preset=slow,tune=grain]"), new("x264")))

    def chosen(names: str) -> list[str]:
        return list(dict.fromkeys(choose(frame, names)["label"]))

    assert chosen("nerv") == ["nerv, preset quick", "nerv, no preset"]
    assert chosen("x264,nerv, preset quick") == ["nerv, preset quick", "x264"]
    assert chosen("x265[preset=slow,tune=grain],x264") == ["x265[preset=slow,tune=grain]", "x264"]
    assert len(find(frame, "x264,x264")) == 1
    assert len(choose(frame, None)) == 16
    with pytest.raises(UsageError, match="There is no codec 'x266' in these results; did you mean x264"):
        choose(frame, "nerv,x266")


def test_columns_of_a_table_are_those_in_which_the_curves_of_one_codec_differ() -> None:
    other_codec = labeled(frames(new("nerv", version="nerv-1", preset="quick"), new("x265", version="libx265")))
    assert list(distinctions(other_codec)) == []
    mixed = labeled(
        frames(new("nerv", preset="quick", seed=1), new("nerv", settings={"epochs": 3}), new("x265", frames=4))
    )
    assert list(distinctions(mixed)) == ["preset", "frames", "seed"]
    settings = labeled(frames(*(new("nerv", settings={"epochs": n, "size": 5}) for n in (3, 300))))
    versions = labeled(frames(new("nerv", version="1"), new("nerv", version="2"), new("x265", version="libx265 4.3")))
    assert distinctions(versions)["version"].unique().tolist() == ["1", "2", ""]
    assert distinctions(settings)["settings"].unique().tolist() == ["epochs=3", "epochs=300"]


def test_presets_that_give_a_codec_the_same_settings_are_one_series() -> None:
    same = [new("x265", preset=preset, settings={"tune": "psnr"}) for preset in (None, "tiny", "quick")]
    assert set(labeled(frames(*same))["label"]) == {"x265"}
    other = labeled(frames(*same, new("x265", preset="best", settings={"tune": "grain"})))
    assert other["series"].nunique() == 2
