"""Pieces cover a clip once, and their states are decoded in order, when they are needed."""

from dataclasses import replace

import pytest

from rdbench.codecs.inr.clip_header import ClipHeader
from rdbench.codecs.inr.pieces.layout import Piece, States, boxes, groups_of_frames, mean_squares_to_db, spans_of
from rdbench.errors import BitstreamError

CLIP = ClipHeader(10, 6, 8, 25, 1)


class Counting:
    """States that are the numbers of all pieces up to one that decodes alone."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces, self.read = pieces, list[int]()

    def read_piece(self, number: int, reference: tuple[int, ...] | None) -> tuple[int, ...]:
        self.read.append(number)
        return (*(reference or ()), number)


def test_groups_of_frames_follow_each_other_up_to_the_next_intra_group() -> None:
    pieces = groups_of_frames(CLIP, 3, 2)
    assert [(piece.time, piece.after) for piece in pieces] == [((0, 3), None), ((3, 6), 0), ((6, 8), None)]
    assert [len(group) for group in spans_of(pieces, CLIP)] == [1, 1, 1]


def test_boxes_are_cut_at_the_edges() -> None:
    pieces = boxes(CLIP, 5, 4, 7)
    assert [(p.first, p.frames, p.top, p.left, p.height, p.width) for p in pieces[:4]] == [
        (0, 5, 0, 0, 4, 7), (0, 5, 0, 7, 4, 3), (0, 5, 4, 0, 2, 7), (0, 5, 4, 7, 2, 3),
    ]  # fmt: skip
    assert sum(piece.values for piece in pieces) == 3 * 10 * 6 * 8
    assert [len(group) for group in spans_of(pieces, CLIP)] == [4, 4]


@pytest.mark.parametrize(
    "change", [{"width": 2}, {"top": 3}, {"first": 1}, {"number": 7}, {"after": 1}, {"left": -1}], ids=str
)
def test_pieces_that_do_not_cover_the_clip_once_are_refused(change: dict[str, int]) -> None:
    pieces = boxes(CLIP, 8, 6, 5)
    with pytest.raises(BitstreamError, match="do not cover"):
        spans_of([replace(pieces[0], **change), pieces[1]], CLIP)


def test_a_state_needs_its_chain_alone_and_each_piece_is_read_once() -> None:
    reader = Counting(groups_of_frames(CLIP, 1, 4))
    states = States(reader)
    assert states.of(6) == (4, 5, 6)
    assert [states.of(number) for number in (7, 1)] == [(4, 5, 6, 7), (0, 1)]
    assert reader.read == [4, 5, 6, 7, 0, 1]
    assert states.reference(2) == (0, 1)
    assert reader.read == [4, 5, 6, 7, 0, 1]


def test_psnr_of_a_sum_of_squares() -> None:
    assert mean_squares_to_db(255.0**2 * 4, 400) == pytest.approx(20)
