"""Videos from files and folders, and videos made from videos: cut, cropped, scaled, converted."""

import copy
import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import IO, Self

import ffmpeg as ffmpeg_python
import numpy as np

from ..errors import MediaError
from .color import convert, to_rgb
from .conditions import Conditions
from .depth import change_depth
from .ffmpeg import file_url, find_ffmpeg, probe, raw_output, read_frames
from .pipe import split_planes
from .video import BATCH, Frames, Plane, Video, VideoFormat
from .y4m import FRAME, HEADER_LIMIT, parse_y4m, read_header

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm")
"""Endings of the names of image files, in lower case."""


class FileVideo(Video):
    """Frames from a file or folder, which can be read up to a given one and not beyond."""

    @abstractmethod
    def first(self, frames: int) -> Self:
        """The first `frames` frames (at least 1), or all where there are fewer; the rest is not read."""


def open_video(path: Path, ffmpeg: str | None = None, stream: int = 0) -> FileVideo:
    """A y4m file, a folder of images, or anything that ffmpeg reads. Raises MediaError."""
    path = Path(path)
    if not path.exists():
        raise MediaError(f"There is no file {path}; check the path.")
    if path.is_dir():
        return ImageFolder(path, ffmpeg)
    if path.stat().st_size == 0:
        raise MediaError(f"{path} is empty; get it again.")
    if path.suffix.lower() in IMAGES:
        _check_no_pattern(path)
    with path.open("rb") as file:
        y4m = file.read(9) == b"YUV4MPEG2"
    return Y4mVideo(path) if y4m else FfmpegVideo(path, ffmpeg, stream)


class FfmpegVideo(FileVideo):
    """One video stream of a file, in its own planes, through ffmpeg."""

    def __init__(self, path: Path, ffmpeg: str | None = None, stream: int = 0) -> None:
        probed = probe(path, ffmpeg, stream)
        self.format, self.frames = probed.format, None
        self._path = path
        source = ffmpeg_python.input(file_url(path), noautorotate=None)[f"v:{stream}"]
        self._input, self._pix_fmt, self._program = source, probed.pix_fmt, find_ffmpeg(ffmpeg)
        self._limit: int | None = None

    def first(self, frames: int) -> Self:
        """The first frames, after which ffmpeg ends.

        Their number stays unknown. Damage behind them does not matter where ffmpeg, which decodes some frames ahead,
        does not meet it.
        """
        part = copy.copy(self)
        part._limit = frames if self._limit is None else min(frames, self._limit)
        return part

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames in display order. Raises MediaError for a damaged file or one without frames."""
        count = 0
        command = raw_output(self._input, self._pix_fmt, self._program, self._limit)
        for batch in read_frames(command, self.format, str(self._path), size):
            count += len(batch)
            yield batch
        if count == 0:
            raise MediaError(f"{self._path} has no frames; it is damaged or cut short.")


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, with numbers in their names as numbers: 2.png before 10.png.

    Raises MediaError where there is none, or where two names tell no order, as 1.png and 01.png.
    """
    files = sorted((f for f in folder.iterdir() if f.suffix.lower() in IMAGES), key=_words_and_numbers)
    if not files:
        raise MediaError(f"The folder {folder} holds no images ({', '.join(IMAGES)}); name a folder that does.")
    for file in files:
        _check_no_pattern(file)
    for before, after in pairwise(files):
        if _words_and_numbers(before) == _words_and_numbers(after):
            raise MediaError(
                f"The names {before.name} and {after.name} in {folder} do not say which is first; number the images."
            )
    return files


def _check_no_pattern(image: Path) -> None:
    """Raises MediaError for a path such as `a%03d.png`, for which ffmpeg would read `a001.png`."""
    if re.search(r"%[0-9]*d", str(image)):
        raise MediaError(f"ffmpeg takes the % in {image} for the place of a number; rename it.")


def _words_and_numbers(path: Path) -> tuple[str | int, ...]:
    """`a2b10.png` -> `a`, 2, `b`, 10, and an empty text; every second one is a number."""
    parts = re.split(r"([0-9]+)", path.stem)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts))


class ImageFolder(FileVideo):
    """The images of a folder in the order of their names (`list_images`), all of one size and format.

    They are read as they are stored: a rotation that a file asks for in its metadata (EXIF) is not applied.
    """

    def __init__(self, folder: Path, ffmpeg: str | None = None, frame_rate: Fraction = Fraction(25)) -> None:
        self._files = list_images(folder)
        self._ffmpeg = ffmpeg
        self._first = probe(self._files[0], ffmpeg)
        self.format = replace(self._first.format, frame_rate=frame_rate)
        self.frames = len(self._files)

    def first(self, frames: int) -> Self:
        """The first images."""
        part = copy.copy(self)
        part._files = self._files[:frames]
        part.frames = len(part._files)
        return part

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The images, `size` at a time. Raises MediaError when one has another size."""
        for start in range(0, len(self._files), size):
            read = [self._read(file) for file in self._files[start : start + size]]
            yield Frames(tuple(np.concatenate(planes) for planes in zip(*(f.planes for f in read), strict=True)))

    def _read(self, file: Path) -> Frames:
        probed = probe(file, self._ffmpeg)
        if replace(probed.format, frame_rate=self.format.frame_rate) != self.format:
            raise MediaError(f"{file} differs in size or pixel format from {self._files[0].name}; make them alike.")
        source = ffmpeg_python.input(file_url(file), noautorotate=None)
        command = raw_output(source, self._first.pix_fmt, find_ffmpeg(self._ffmpeg))
        (frames,) = read_frames(command, self.format, str(file), 1)
        return frames


class RawVideo(FileVideo):
    """Planar raw video without a header, described by its format and number of frames."""

    def __init__(self, path: Path, format: VideoFormat, frames: int) -> None:
        self.format, self.frames = format, frames
        self._path, self._count = path, frames

    def first(self, frames: int) -> Self:
        """The first frames."""
        part = copy.copy(self)
        part.frames = part._count = min(frames, self._count)
        return part

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames. Raises MediaError for a file that is cut short."""
        with self._path.open("rb") as file:
            for start in range(0, self._count, size):
                count = min(size, self._count - start)
                raw = file.read(count * self.format.frame_bytes)
                if len(raw) != count * self.format.frame_bytes:
                    raise MediaError(f"{self._path} ends before frame {self._count}; it is cut short.")
                yield split_planes(np.frombuffer(raw, self.format.dtype).reshape(count, -1), self.format)


class Y4mVideo(FileVideo):
    """A y4m file (YUV4MPEG2): its own header, then frames."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self.format = parse_y4m(read_header(file, path), path)
            self._start = file.tell()
        self.frames = self._count()
        self._limit: int | None = None

    def first(self, frames: int) -> Self:
        """The first frames."""
        part = copy.copy(self)
        part._limit = frames if self._limit is None else min(frames, self._limit)
        part.frames = None if self.frames is None else min(frames, self.frames)
        return part

    def _count(self) -> int | None:
        """The number of frames where every frame's header is the plain one; None otherwise."""
        whole, rest = divmod(self._path.stat().st_size - self._start, self.format.frame_bytes + len(FRAME))
        return whole if rest == 0 else None

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames. Raises MediaError for a file that is cut short."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            missing = self._limit
            while waiting := self._some(file, size if missing is None else min(size, missing)):
                missing = None if missing is None else missing - len(waiting)
                yield split_planes(
                    np.frombuffer(b"".join(waiting), self.format.dtype).reshape(len(waiting), -1), self.format
                )

    def _some(self, file: IO[bytes], size: int) -> list[bytes]:
        frames: list[bytes] = []
        while len(frames) < size and (line := file.readline(HEADER_LIMIT)):
            raw = file.read(self.format.frame_bytes)
            if not line.startswith(b"FRAME") or len(raw) != self.format.frame_bytes:
                raise MediaError(f"{self._path} ends inside a frame; it is damaged or cut short.")
            frames.append(raw)
        return frames


def write_y4m(path: Path, video: Video) -> int:
    """Writes the video as y4m and returns the number of frames. Raises MediaError for RGB, which y4m cannot hold."""
    fmt = video.format
    if fmt.chroma == "rgb":
        raise MediaError("y4m cannot hold RGB; convert the frames to 4:4:4 first.")
    base = {"gray": "mono", "420": "420jpeg" if fmt.bit_depth == 8 else "420"}.get(fmt.chroma, fmt.chroma)
    depth = "" if fmt.bit_depth == 8 else (f"p{fmt.bit_depth}" if fmt.chroma != "gray" else str(fmt.bit_depth))
    span = "FULL" if fmt.full_range else "LIMITED"
    rate = f"{fmt.frame_rate.numerator}:{fmt.frame_rate.denominator}"
    count = 0
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{fmt.width} H{fmt.height} F{rate} Ip A1:1 C{base}{depth} XCOLORRANGE={span}\n".encode())
        for batch in video.batches():
            for index in range(len(batch)):
                file.write(b"FRAME\n" + b"".join(plane[index].tobytes() for plane in batch.planes))
            count += len(batch)
    return count


def write_raw(path: Path, video: Video) -> int:
    """Writes the planes of the frames, one after the other, without a header; returns the number of frames."""
    count = 0
    with path.open("wb") as file:
        for batch in video.batches():
            for index in range(len(batch)):
                for plane in batch.planes:
                    file.write(np.ascontiguousarray(plane[index]).data)
            count += len(batch)
    return count


class MemoryVideo(Video):
    """Frames in memory."""

    def __init__(self, format: VideoFormat, content: Frames) -> None:
        self.format, self.frames = format, len(content)
        self._content = content

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """Views of the frames."""
        for start in range(0, len(self._content), size):
            yield Frames(tuple(plane[start : start + size] for plane in self._content.planes))


class Cut(Video):
    """The first `frames` frames of a video. Raises MediaError where there are fewer."""

    def __init__(self, video: Video, frames: int) -> None:
        self.format, self.frames = video.format, frames
        self._video, self._count = video, frames
        if video.frames is not None and video.frames < frames:
            raise MediaError(f"The clip has {video.frames} frames, not {frames}; set fewer frames.")

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames up to the cut; nothing after it is read."""
        missing = self._count
        for batch in self._video.batches(size):
            yield Frames(tuple(plane[:missing] for plane in batch.planes))
            missing -= min(missing, len(batch))
            if missing == 0:
                return
        raise MediaError(f"The clip has {self._count - missing} frames, not {self._count}; set fewer frames.")


class Cropped(Video):
    """A window of each frame; with subsampled chroma its top left corner is at even coordinates."""

    def __init__(self, video: Video, x: int, y: int, width: int, height: int) -> None:
        fmt = video.format
        if x < 0 or y < 0 or x + width > fmt.width or y + height > fmt.height or min(width, height) < 1:
            raise MediaError(f"A crop of {width}x{height} at ({x}, {y}) is not inside {fmt.width}x{fmt.height}.")
        if (x % 2 and fmt.chroma in ("420", "422")) or (y % 2 and fmt.chroma == "420"):
            raise MediaError(f"A crop at ({x}, {y}) splits a chroma sample; use an even corner.")
        self.format, self.frames = replace(fmt, width=width, height=height), video.frames
        self._video, self._x, self._y = video, x, y

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The windows."""
        whole, part = self._video.format.plane_shapes[0], self.format.plane_shapes
        for batch in self._video.batches(size):
            planes = []
            for plane, (height, width) in zip(batch.planes, part, strict=True):
                y = self._y if plane.shape[1] == whole[0] else self._y // 2
                x = self._x if plane.shape[2] == whole[1] else self._x // 2
                planes.append(plane[:, y : y + height, x : x + width])
            yield Frames(tuple(planes))


class Scaled(Video):
    """A video scaled down by whole factors: the mean over each box of samples, plane by plane, rounded half up."""

    def __init__(self, video: Video, width: int, height: int) -> None:
        fmt = video.format
        self.format, self.frames = replace(fmt, width=width, height=height), video.frames
        self._video = video
        for (h, w), (small_h, small_w) in zip(fmt.plane_shapes, self.format.plane_shapes, strict=True):
            if small_h < 1 or small_w < 1 or h % small_h or w % small_w:
                raise MediaError(
                    f"{fmt.width}x{fmt.height} cannot be scaled to {width}x{height}: only whole factors are exact; "
                    "crop first, or scale the file yourself."
                )

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The small frames."""
        shapes = self.format.plane_shapes
        for batch in self._video.batches(size):
            yield Frames(tuple(_box_mean(plane, *shape) for plane, shape in zip(batch.planes, shapes, strict=True)))


def _box_mean(plane: Plane, height: int, width: int) -> Plane:
    t, h, w = plane.shape
    down, across = h // height, w // width
    rows = plane.reshape(t, height, down, w).sum(axis=2, dtype=np.int64)
    sums = sum(rows[..., first::across] for first in range(across))  # adding up slices keeps NumPy's loops long
    area = down * across
    return ((2 * sums + area) // (2 * area)).astype(plane.dtype)  # type: ignore[no-any-return]


class RgbVideo(Video):
    """The video as 8-bit RGB, by the conversion of the test conditions."""

    def __init__(self, video: Video, conditions: Conditions) -> None:
        self.format = replace(video.format, chroma="rgb", bit_depth=8, full_range=True)
        self.frames = video.frames
        self._video, self._conditions = video, conditions

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """RGB planes."""
        for batch in self._video.batches(size):
            yield to_rgb(batch, self._video.format, self._conditions)


class ConvertedVideo(Video):
    """The video in the chroma and bit depth of `target`; its own frames where neither needs to change."""

    def __init__(self, video: Video, target: VideoFormat, matrix: str = "bt601") -> None:
        self.format, self.frames = target, video.frames
        self._video, self._matrix = video, matrix

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The converted frames."""
        source, target = self._video.format, self.format
        if (source.chroma, source.bit_depth) == (target.chroma, target.bit_depth):
            yield from self._video.batches(size)
            return
        if source.chroma == target.chroma:
            for batch in self._video.batches(size):
                yield change_depth(batch, source.bit_depth, target.bit_depth)
            return
        for batch in self._video.batches(size):
            yield convert(batch, source, target, self._matrix)


def sha256_of(video: Video) -> str:
    """The hex SHA-256 of all samples: frame after frame, plane after plane."""
    digest = hashlib.sha256()
    for batch in video.batches():
        for index in range(len(batch)):
            for plane in batch.planes:
                digest.update(np.ascontiguousarray(plane[index]).data)
    return digest.hexdigest()
