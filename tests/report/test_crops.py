"""Frames and crops are chosen where the differences were planted."""

import numpy as np
import pytest

from rdbench.report.crops import (
    Choice,
    Crop,
    Shot,
    choose_frames,
    crop_size,
    difference_crop,
    squared_errors,
    worst_crop,
)


def test_the_first_frames_are_the_worst_of_a_of_b_the_most_different_and_the_median() -> None:
    a = [30.0, 21.0, 33.0, 34.0, 31.0, 32.0]
    b = [31.0, 29.0, 20.5, 30.0, 25.0, 32.5]
    found = choose_frames(a, b, 4)
    # differences 1, 8, 12.5, 4, 6, 0.5; means 30.5, 25, 26.75, 32, 28, 32.25, whose median is 29.25
    assert [(one.frame, one.reasons) for one in found] == [
        (1, (("a", 0),)),
        (2, (("b", 0), ("difference", 0))),
        (0, (("median", 0),)),
        (4, (("b", 1),)),
    ]


def test_a_frame_that_is_first_in_all_kinds_takes_one_place_and_no_frame_comes_twice() -> None:
    found = choose_frames([10.0, 30.0, 30.0], [5.0, 30.0, 30.0], 9)
    assert sorted(one.frame for one in found) == [0, 1, 2]
    assert found[0] == Choice(0, (("a", 0), ("b", 0), ("difference", 0)))


def test_the_reasons_name_the_codecs_and_the_rank() -> None:
    choice = Choice(4, (("a", 0), ("b", 1), ("difference", 0), ("median", 0)))
    assert choice.text("nerv", "x265", "PSNR") == (
        "lowest PSNR of nerv; lowest PSNR of x265 (no. 2); largest difference in PSNR; median PSNR"
    )
    assert Choice(4).text("nerv", "x265", "PSNR") == ""


def test_squared_errors_are_the_mean_over_channels() -> None:
    reference = np.full((2, 3, 3), 250, np.uint8)
    decoded = reference.copy()
    decoded[1, 2] = (253, 250, 244)
    expected = np.zeros((2, 3))
    expected[1, 2] = (9 + 0 + 36) / 3
    assert np.array_equal(squared_errors(reference, decoded), expected)


def test_the_crop_is_where_a_difference_was_planted_in_either_direction() -> None:
    a, b = np.full((40, 60), 2.0), np.full((40, 60), 2.0)
    b[23:31, 41:49] = 9.0  # B is worse here
    a[3:11, 5:13] = 5.0  # and A here, by less
    assert difference_crop(a, b, 8) == Crop(23, 41, 8, 8)
    assert worst_crop(a, 8) == Crop(3, 5, 8, 8)
    assert worst_crop(b, 8) == Crop(23, 41, 8, 8)


def test_a_crop_finds_the_window_that_an_exhaustive_search_finds() -> None:
    errors = np.random.default_rng(1).uniform(0, 100, (17, 23))
    sums = {(y, x): errors[y : y + 5, x : x + 5].sum() for y in range(13) for x in range(19)}
    assert worst_crop(errors, 5) == Crop(*max(sums, key=lambda place: sums[place]), 5, 5)


def test_equal_frames_and_crops_as_large_as_the_frame_have_a_crop_too() -> None:
    nothing = np.zeros((9, 12))
    assert difference_crop(nothing, nothing, 4) == Crop(0, 0, 4, 4)
    assert worst_crop(nothing, 9) == Crop(0, 0, 9, 9)


@pytest.mark.parametrize(
    ("size", "side"), [((1080, 1920), 216), ((2160, 3840), 216), ((720, 1280), 144), ((90, 160), 32), ((16, 40), 16)]
)
def test_the_size_of_a_crop_follows_the_frame_within_limits(size: tuple[int, int], side: int) -> None:
    assert crop_size(*size) == side


def test_overlap_is_a_share_of_the_crop() -> None:
    assert Crop(0, 0, 10, 10).overlap(Crop(5, 5, 10, 10)) == 0.25
    assert Crop(0, 0, 10, 10).overlap(Crop(10, 0, 10, 10)) == 0


def test_a_shot_crops_where_a_is_worst_or_where_both_differ() -> None:
    reference = np.zeros((90, 160, 3), np.uint8)
    a, b = reference.copy(), reference.copy()
    a[10:42, 20:52] = 60
    b[10:42, 20:52] = 59  # both are bad here ...
    b[50:82, 100:132] = 40  # ... and here only one of them
    shot = Shot(Choice(0), reference, (a, b), (20.0, 20.0))
    assert shot.crop("worst") == Crop(10, 20, 32, 32)
    assert shot.crop("difference") == Crop(50, 100, 32, 32)
