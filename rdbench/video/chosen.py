"""Some frames of a video, by their numbers, read with as little decoding as the video allows."""

from collections.abc import Iterator, Sequence

from .video import BATCH, Frames, Video


class Chosen(Video):
    """The frames with these numbers, in ascending order, one in a batch; numbers beyond the end yield nothing.

    `seeks`: whether the video's `span` starts anywhere at little cost; else it is read once, up to the last number.
    """

    def __init__(self, video: Video, numbers: Sequence[int], seeks: bool) -> None:
        self.format, self.frames = video.format, None
        self._video, self._numbers, self._seeks = video, sorted(set(numbers)), seeks

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The chosen frames."""
        if self._seeks:
            for number in self._numbers:
                yield from self._video.span(number, number + 1, 1)
            return
        first, wanted, position = self._numbers[0], set(self._numbers), self._numbers[0]
        for batch in self._video.span(first, self._numbers[-1] + 1, size):
            for index in range(len(batch)):
                if position + index in wanted:
                    yield Frames(tuple(plane[index : index + 1] for plane in batch.planes))
            position += len(batch)


def seeks(video: Video) -> bool:
    """Whether the video has a `span` of its own, which is what a video with random access has."""
    return type(video).span is not Video.span
