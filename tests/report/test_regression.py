"""The regression gate: what it lets pass, and what it does not."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rdbench.errors import RdbenchError, UsageError
from rdbench.report.baseline import (
    Baseline,
    CodecLimits,
    kept_limits,
    make_baseline,
    read_baseline,
    restricted,
    save_baseline,
    updated,
)
from rdbench.report.regression import CheckReport, check
from rdbench.report.results import Record, to_frame

POINTS = {"a": (0.1, 30.0), "b": (0.2, 33.0), "c": (0.4, 36.0), "d": (0.8, 39.0)}


def make(points: dict[str, tuple[float, float]] | None = None, **changes: Any) -> pd.DataFrame:
    values: dict[str, Any] = {
        "codec": "x265", "dataset": "bunny", "sequence": "bunny", "conditions": "rgb601/1a2b3c4d", "width": 160,
        "height": 90, "frames": 8, "frame_rate": 25.0, "bit_depth": 8, "encode_seconds": 1.0, "decode_seconds": 0.5,
        "status": "ok",
    }  # fmt: skip
    values |= changes
    return to_frame(
        Record(**values, id=f"{label}{values}", rate_point=label, bpp=bpp, psnr_rgb=psnr)
        for label, (bpp, psnr) in (points or POINTS).items()
    )


def made(bpp_factor: float = 1.0, **changes: Any) -> pd.DataFrame:
    """Records of schema 2; `version` is the codec's."""
    version = changes.pop("version", "1")
    frame = make({label: (bpp * bpp_factor, psnr) for label, (bpp, psnr) in POINTS.items()}, **changes)
    device = changes.get("device", "cpu")
    rows = [{"version": version, "settings": {}, "device": device, "precision": "float32"} for _ in POINTS]
    return frame.assign(identity=pd.Series(rows, index=frame.index, dtype=object))


def against(frame: pd.DataFrame, **limits: float) -> CheckReport:
    return check(frame, make_baseline(make()), **limits)


def test_the_same_results_pass() -> None:
    report = against(make())
    assert report.ok
    assert report.lines()[-1] == "check: no regression"
    assert any("BD-rate +0.00 %" in line for line in report.changes)


def test_more_bits_at_the_same_quality() -> None:
    more = make({label: (bpp * 1.05, psnr) for label, (bpp, psnr) in POINTS.items()})
    report = against(more)
    assert len(report.regressions) == 1
    assert "BD-rate +5.00 % is above 2 %" in report.regressions[0]
    assert against(more, max_bd_rate=6).ok
    assert any("0.1000 -> 0.1050 bpp" in line for line in report.changes)


def test_fewer_bits_pass_and_are_reported() -> None:
    report = against(make({label: (bpp * 0.9, psnr) for label, (bpp, psnr) in POINTS.items()}))
    assert report.ok
    assert any("BD-rate -10.00 %" in line for line in report.changes)


def crossed(bpp_factor: float = 1.0, below: float = 33.2) -> pd.DataFrame:
    """Records of two sizes, each at three lambdas; the larger size's first point, of quality `below`, and the smaller
    one's last are below the hull.
    """
    points = {
        ("small", 1): (0.1, 30.0), ("small", 2): (0.2, 33.0), ("small", 3): (0.4, 33.5), ("large", 1): (0.3, below),
        ("large", 2): (0.4, 36.0), ("large", 3): (0.8, 39.0),
    }  # fmt: skip
    frame = make({f"{size}-{weight}": (bpp * bpp_factor, psnr) for (size, weight), (bpp, psnr) in points.items()})
    common = {"version": "1", "settings": {}, "device": "cpu", "precision": "float32"}
    rows = [common | {"point": {"size": size, "lambda": weight}} for size, weight in points]
    return frame.assign(identity=pd.Series(rows, index=frame.index, dtype=object))


def test_a_curve_over_sizes_and_lambdas_is_compared_by_its_hull() -> None:
    baseline = make_baseline(crossed())
    assert {point.hull for point in baseline.points} == {True}
    assert "x265 bunny bunny rgb601/1a2b3c4d: BD-rate +0.00 %" in check(crossed(), baseline).changes
    worse_below = check(crossed(below=33.12), baseline)
    assert "x265 bunny bunny rgb601/1a2b3c4d: BD-rate +0.00 %" in worse_below.changes
    assert worse_below.ok
    report = check(crossed(1.05), baseline)
    assert len(report.regressions) == 1
    assert "BD-rate +5.00 % is above 2 %" in report.regressions[0]


def test_an_exact_codec_may_not_change_at_all_for_the_better_either() -> None:
    better = make(POINTS | {"b": (0.2, 33.001)})
    assert against(better).ok
    report = check(better, make_baseline(make(), {"x265": CodecLimits(exact=True)}))
    assert len(report.regressions) == 1
    assert "x265 bunny bunny rgb601/1a2b3c4d b: 0.2000 -> 0.2000 bpp, 33.000 -> 33.001 dB" in report.regressions[0]
    assert check(make(), make_baseline(make(), {"x265": CodecLimits(exact=True)})).ok
    assert check(better, make_baseline(make(), {"x264": CodecLimits(exact=True)})).ok


def test_a_codecs_own_limits_replace_those_of_the_command_line() -> None:
    worse = make({label: (bpp * 1.05, psnr - 0.2) for label, (bpp, psnr) in POINTS.items()})
    loose = make_baseline(make(), {"x265": CodecLimits(bd_rate=20, psnr_drop=0.3)})
    assert check(worse, loose).ok
    assert not check(worse, loose.model_copy(update={"limits": {}})).ok
    tight = make_baseline(make(), {"x265": CodecLimits(psnr_drop=0.1)})
    assert any("fell by 0.200 dB" in line for line in check(worse, tight, 50, 50).regressions)


def test_a_renewed_baseline_keeps_the_limits(tmp_path: Path) -> None:
    path, limits = tmp_path / "b.json", {"x265": CodecLimits(exact=True), "nerv": CodecLimits(time_ratio=1.5)}
    save_baseline(path, make_baseline(pd.concat([make(), make(codec="nerv")]), limits))
    assert read_baseline(path).limits == kept_limits(path) == limits
    path.write_text("damaged")
    assert kept_limits(path) == kept_limits(tmp_path / "none") == {}


def test_a_drop_at_one_rate_point() -> None:
    report = against(make(POINTS | {"b": (0.19, 32.7)}), max_bd_rate=50)
    assert len(report.regressions) == 1
    assert "b: psnr_rgb fell by 0.300 dB" in report.regressions[0]


@pytest.mark.parametrize(("field", "word"), [("encode_seconds", "encode time"), ("decode_seconds", "decode time")])
def test_slower(field: str, word: str) -> None:
    slow = make().assign(**{field: 2.5})
    report = against(slow)
    assert len(report.regressions) == 1
    assert word in report.regressions[0]
    assert "(median of 4 samples, noise 1.00), more than 2" in report.regressions[0]
    assert against(slow, max_time_ratio=6).ok
    own = make_baseline(make(), {"x265": CodecLimits(time_ratio=6)})
    assert check(slow, own).ok
    assert not check(slow, make_baseline(make(), {"x265": CodecLimits(time_ratio=1.5)}), max_time_ratio=6).ok


def test_one_slow_sample_of_a_busy_machine_is_no_regression() -> None:
    seconds = make().assign(encode_seconds=[1.0, 1.1, 9.0, 0.9])
    assert against(seconds).ok
    samples = make().assign(decode_samples=[[0.5, 0.6, 4.0], [0.5, 0.5, 0.5], [0.5, 3.0, 0.5], [0.5, 0.6, 0.4]])
    assert against(samples).ok


def test_a_spread_above_the_slowdown_is_noise_and_is_reported() -> None:
    noisy = make().assign(encode_seconds=[1.0, 2.5, 2.6, 9.0])
    report = against(noisy)
    assert report.ok
    assert any("encode time is 2.55 times" in line and "within the noise" in line for line in report.changes)


def test_fewer_than_three_samples_are_not_judged() -> None:
    two = {label: POINTS[label] for label in "ab"}
    report = check(make(two, encode_seconds=50.0), make_baseline(make(two)))
    assert report.ok
    assert any("50.00 times" in line and "not judged with fewer than 3 samples" in line for line in report.changes)
    slow = make(two, decode_samples=[5.0, 5.1, 4.9])
    assert "decode time is 10.00 times" in check(slow, make_baseline(make(two))).regressions[0]


def test_times_of_another_machine_are_not_judged() -> None:
    baseline = make_baseline(make(cpu="Old Core", threads=2))
    report = check(make(cpu="New Core", threads=2, encode_seconds=50.0), baseline)
    assert report.ok
    assert any("times are not judged, measured on New Core, 2 threads" in line for line in report.changes)
    assert not check(make(cpu="Old Core", threads=2, encode_seconds=50.0), baseline).ok
    assert check(make(cpu="Old Core", threads=1, encode_seconds=50.0), baseline).ok


def test_only_some_codecs(tmp_path: Path) -> None:
    both = pd.concat([make(), make(codec="x264")])
    worse = pd.concat([make({k: (b * 2, q) for k, (b, q) in POINTS.items()}), make(codec="x264")])
    frame, baseline = restricted(worse, make_baseline(both), "x264")
    assert check(frame, baseline).ok
    assert {point.codec for point in baseline.points} == {"x264"}
    assert not check(*restricted(worse, make_baseline(both), "x265,x264")).ok
    with pytest.raises(UsageError, match="--only x256 is no codec here; did you mean x265"):
        restricted(worse, make_baseline(both), "x256")
    named = make_baseline(make(codec="x265[bframes=0,preset=fast]"))
    assert len(restricted(make(), named, "x265")[1].points) == 4
    assert len(restricted(make(codec="x264"), named, "x265[bframes=0,preset=fast],x264")[1].points) == 4
    path = tmp_path / "b.json"
    save_baseline(path, make_baseline(both, {"x264": CodecLimits(exact=True)}))
    renewed = updated(worse, path, "x265")
    assert {p.bpp for p in renewed.points if p.codec == "x265"} == {0.2, 0.4, 0.8, 1.6}
    assert {p.bpp for p in renewed.points if p.codec == "x264"} == {0.1, 0.2, 0.4, 0.8}
    assert renewed.limits == {"x264": CodecLimits(exact=True)}


def test_missing_points_may_be_ignored_but_not_all() -> None:
    some = make({label: POINTS[label] for label in "abc"})
    report = check(some, make_baseline(pd.concat([make(), make(codec="x264")])), ignore_missing=True)
    assert report.ok
    assert sum("is missing" in line for line in report.changes) == 5
    report = check(make(codec="vvenc"), make_baseline(make()), ignore_missing=True)
    assert report.regressions == ["nothing was compared: the records have no rate point of the baseline"]


def test_limits_of_a_codec_hold_for_its_variants_and_must_have_points(tmp_path: Path) -> None:
    fast, slower = (
        make(codec="x265[preset=fast]"),
        make(codec="x265[preset=fast]").assign(psnr_rgb=[29.8, 32.8, 35.8, 38.8]),
    )
    limits = {"x265": CodecLimits(psnr_drop=0.5, bd_rate=50)}
    assert check(slower, make_baseline(fast, limits)).ok
    own = limits | {"x265[preset=fast]": CodecLimits(psnr_drop=0.1, bd_rate=50)}
    assert not check(slower, make_baseline(fast, own)).ok
    path = tmp_path / "b.json"
    save_baseline(path, make_baseline(make(), {"x256": CodecLimits(exact=True)}))
    with pytest.raises(RdbenchError, match="limits of 'x256' without a point of that codec; did you mean x265"):
        read_baseline(path)
    with pytest.raises(RdbenchError, match="would have limits of 'x256'"):
        updated(make(), path, None)


def test_missing_and_failed_points() -> None:
    less = make({label: POINTS[label] for label in "abc"})
    assert against(less).regressions == ["x265 bunny bunny rgb601/1a2b3c4d d is missing"]
    failed = make({"d": POINTS["d"]}, status="failed", error="out of memory")
    report = against(pd.concat([less, failed]))
    assert any("d failed: out of memory" in line for line in report.regressions)


def test_other_conditions_and_clips_are_named() -> None:
    report = against(make(conditions="rgb709/9a9a9a9a"))
    assert len(report.regressions) == 1
    assert "conditions are rgb709/9a9a9a9a, the baseline has rgb601/1a2b3c4d" in report.regressions[0]
    report = against(make(frames=16))
    assert report.regressions == ["x265 bunny bunny: frames are 16, the baseline has 8; measure under the same"]
    other_metric = make().assign(psnr_rgb=None, psnr_yuv=30.0)
    assert against(other_metric).regressions[0].endswith("the quality is psnr_yuv, the baseline has psnr_rgb")


def test_new_curves_are_no_regression() -> None:
    report = against(pd.concat([make(), make(codec="x264")]))
    assert report.ok
    assert "x264 bunny bunny rgb601/1a2b3c4d: not in the baseline" in report.changes


def test_the_later_of_two_records_counts() -> None:
    old = make({label: (bpp, psnr - 3) for label, (bpp, psnr) in POINTS.items()}, started="2026-01-01")
    assert against(pd.concat([make(started="2026-01-02"), old])).ok


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 1}, "seed is 1, the baseline has 0"),
        ({"preset": "quick"}, "preset is quick, the baseline has none"),
        ({"device": "cuda"}, "device is cuda, the baseline has cpu"),
        ({"frames": 16}, "frames are 16, the baseline has 8"),
    ],
)
def test_curves_of_other_seeds_presets_devices_and_frames_are_not_compared(changes: dict[str, Any], text: str) -> None:
    baseline, other = make_baseline(made()), made(2.0, **changes)
    report = check(other, baseline)
    assert len(report.regressions) == 1
    assert text in report.regressions[0]
    report = check(pd.concat([made(), other]), baseline)
    assert report.ok
    assert any(line.endswith("not in the baseline") for line in report.changes)
    both = make_baseline(pd.concat([made(), other]))
    assert check(pd.concat([made(), other]), both).ok
    assert len(check(pd.concat([made(), made(2.2, **changes)]), both).regressions) == 1


def test_versions_are_compared_and_the_one_that_ran_last_counts() -> None:
    old, new = made(started="2026-01-01"), made(1.5, version="2", started="2026-01-02")
    report = check(pd.concat([new, old]), make_baseline(old))
    assert "BD-rate +50.00 % is above 2 %" in report.regressions[0]
    report = check(pd.concat([new[new["rate_point"] != "d"], old]), make_baseline(old))
    assert "x265 bunny bunny rgb601/1a2b3c4d d is missing" in report.regressions


def test_a_baseline_that_states_no_seed_is_refused_for_records_of_several() -> None:
    points = [point.model_copy(update=dict.fromkeys(("preset", "device", "precision", "seed")))
              for point in make_baseline(made()).points]  # fmt: skip
    old = Baseline(version=1, points=points)
    assert check(made(seed=3, device="cuda"), old).ok
    report = check(pd.concat([made(), made(2.0, seed=1)]), old)
    assert len(report.regressions) == 1
    assert "several curves (seed 0, 1), and the baseline does not state which" in report.regressions[0]
    report = check(pd.concat([made(), made(2.0, preset="quick")]), old)
    assert "several curves (preset none, quick)" in report.regressions[0]


def test_older_records_of_other_settings_are_other_curves() -> None:
    few, many = (
        make({label: (bpp * factor, psnr) for label, (bpp, psnr) in POINTS.items()}, settings={"epochs": epochs})
        for factor, epochs in ((2.0, 3), (1.0, 300))
    )
    both = pd.concat([few, many])
    assert len(make_baseline(both).points) == 8
    assert check(both, make_baseline(both)).ok
    assert "several curves" in check(both, make_baseline(many)).regressions[0]


def test_the_kept_baseline_of_the_first_version_is_read() -> None:
    baseline = read_baseline(Path(__file__).parents[2] / "results" / "baselines" / "ci.json")
    assert {point.codec for point in baseline.points} == {"nerv", "x264", "x265"}
    points = {p.rate_point: (p.bpp, p.quality) for p in baseline.points if p.codec == "x264"}
    same = make(points, codec="x264", dataset="bunny@160x90", conditions="rgb601/e91876b1", seed=0)
    report = check(same.assign(encode_seconds=0.1, decode_seconds=0.04), baseline)
    assert not [line for line in report.regressions if line.startswith("x264")]


def test_baseline_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    baseline = make_baseline(make())
    save_baseline(path, baseline)
    assert read_baseline(path) == baseline


def test_unusable_baselines_and_records(tmp_path: Path) -> None:
    with pytest.raises(RdbenchError, match="no baseline"):
        read_baseline(tmp_path / "absent.json")
    path = tmp_path / "base.json"
    for text in ("{", '{"version": 4, "points": []}', '{"version": 1, "points": [{"codec": "x265"}]}'):
        path.write_text(text)
        with pytest.raises(RdbenchError, match=r"base\.json is damaged or of another version"):
            read_baseline(path)
    with pytest.raises(RdbenchError, match="failed; a baseline needs every record finished"):
        make_baseline(make(status="failed"))
    with pytest.raises(RdbenchError, match="no usable encode_seconds"):
        make_baseline(make(encode_seconds=None))
