"""Colors and markers: by name, and apart on one page."""

from rdbench.report.palette import COLORS, MARKERS, Style, styles

KNOWN = ("nerv", "enerv", "x264", "x265")


def test_a_known_codec_has_its_own_style_whatever_stands_beside_it() -> None:
    assert styles(["x265"], KNOWN) == [Style(3, 3)]
    assert styles(["nerv", "x264", "x265"], KNOWN)[2] == Style(3, 3)


def test_an_unknown_codec_has_a_style_by_its_name() -> None:
    assert styles(["mine"], KNOWN) == styles(["mine"], KNOWN)
    assert styles(["mine"], KNOWN)[0].color < COLORS
    assert styles(["mine"], KNOWN)[0].marker < MARKERS


def test_families_are_apart_in_color_as_long_as_there_are_colors() -> None:
    found = styles([f"codec{number}" for number in range(COLORS)])
    assert len({style.color for style in found}) == COLORS


def test_series_of_a_codec_and_its_family_share_the_color_and_differ_in_marker() -> None:
    first, second, related = styles(["dcvc-dc", "dcvc-dc", "dcvc-fm"])
    assert first.color == second.color == related.color
    assert len({first.marker, second.marker, related.marker}) == 3


def test_settings_in_brackets_do_not_change_the_color() -> None:
    plain, fast, slow = styles(["x265", "x265[preset=fast]", "x265[preset=slow]"], KNOWN)
    assert plain == Style(3, 3)
    assert fast.color == slow.color == 3
    assert len({plain.marker, fast.marker, slow.marker}) == 3


def test_known_codecs_keep_their_style_beside_all_others_and_no_two_are_alike() -> None:
    known = [f"codec{number:02}" for number in range(3 * COLORS)]
    together = styles(known, known)
    assert together == [styles([name], known)[0] for name in known]
    assert together == styles(known[::-1], known)[::-1]
    assert len(set(together)) == len(known)


def test_a_family_has_the_color_of_its_first_known_codec() -> None:
    known = ("avc", "dcvc-dc", "dcvc-fm")
    assert [style.color for style in styles(["dcvc-fm", "dcvc-dc", "dcvc"], known)] == [1, 1, 1]


def test_known_families_have_different_colors_as_long_as_there_are_colors() -> None:
    known = [f"codec{number:02}" for number in range(2 * COLORS + 4)]
    # Alone, those at the places 4, 13 and 22 all have the color 4.
    assert {styles([name], known)[0].color for name in ("codec04", "codec13", "codec22")} == {4}
    chosen = ["codec22", "codec04", "codec13", "codec23", "codec14", "codec05"]
    found = styles(chosen, known)
    assert len({style.color for style in found}) == len(chosen)
    assert found[1].color == 4, "the first in the order of the known ones keeps its own"
    assert styles(chosen[::-1], known) == found[::-1]
