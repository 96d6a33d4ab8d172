"""What `rdbench show` does: finds two records, decodes their frames, writes the figure, and says what it shows."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from ...clips import dataset
from ...errors import UsageError
from ...registry import parse_specs
from ...report.crops import Comparison, Crop
from ...report.figure import Look, parse_width, write_figure
from .. import defaults
from ..verify.rebuild import Places
from .compare import METRICS, compare_points, rate_note, renamed
from .points import Wanted, find_pair

CROPS = ("difference", "worst")
MOST_FRAMES = 20
"""Rows of a figure (our choice)."""


@dataclass(frozen=True)
class ShowOptions:
    """Options of the command; None stands for the default."""

    a: str
    b: str
    output: Path
    results: Path
    sequence: str | None = None
    worst: int = 3
    frames: tuple[int, ...] = ()
    """Numbers of frames, instead of the worst ones."""
    metric: str = "psnr"
    """By which the worst ones are found."""
    crop: str = "difference"
    width: str = "7in"
    labels: tuple[str, ...] = ()
    """Other names of the codecs, each as `x265[preset=fast]=x265 fast`."""
    codecs: str | None = None
    """Codecs with paths on this machine."""
    dataset: str | None = None
    """Clips that the records alone do not find."""
    device: str = defaults.DEVICE
    timeout: float | None = None
    """Seconds for each decoding."""
    data_root: str | None = None
    ffmpeg: str | None = None


def show_session(options: ShowOptions) -> None:
    """Writes the figure and prints what it shows. Raises UsageError or RdbenchError."""
    look = _look(options)
    pair = find_pair(Wanted(options.a, options.b, options.results, options.sequence))
    choices: Sequence[int] | int = options.frames or options.worst
    places = find_places(options)
    print(f"Decoding frames of {pair[0].name} and {pair[1].name}", file=sys.stderr)
    comparison = compare_points(*pair, choices, places, options.timeout, options.metric)
    comparison = _labeled(comparison, options.labels)
    write_figure(comparison, options.output, look)
    print("\n".join(_lines(comparison, look)))
    print(f"Wrote {options.output}")


def _look(options: ShowOptions) -> Look:
    if options.crop not in CROPS:
        raise UsageError(f"There is no crop {options.crop!r}; there are {' and '.join(CROPS)}.")
    if options.metric not in METRICS:
        raise UsageError(
            f"There is no metric {options.metric!r} to choose frames by; there are {' and '.join(METRICS)}."
        )
    if not 1 <= options.worst <= MOST_FRAMES or len(options.frames) > MOST_FRAMES:
        raise UsageError(f"A figure has 1 to {MOST_FRAMES} frames; give --worst or --frame so many.")
    return Look(parse_width(options.width), cast(Literal["difference", "worst"], options.crop))


def _labeled(comparison: Comparison, labels: Sequence[str]) -> Comparison:
    """The comparison with the names that were asked for. Raises UsageError for one that names neither codec."""
    names = [side.codec for side in comparison.sides]
    for given in labels:
        found = {name for name in names if any(given.startswith(f"{own}=") for own in (name, name.partition("[")[0]))}
        if not found:
            raise UsageError(f"--label {given!r} names none of {' and '.join(names)}; write it as name=new name.")
        longest = max(found, key=lambda name: (given.startswith(f"{name}="), len(name)))
        new = given.removeprefix(longest if given.startswith(f"{longest}=") else longest.partition("[")[0])[1:]
        names = [new if name == longest else name for name in names]
    return renamed(comparison, (names[0], names[1]))


def find_places(options: ShowOptions) -> Places:
    """Where codecs and clips are on this machine."""
    root = Path(options.data_root) if options.data_root else None
    codecs = tuple(parse_specs(options.codecs)) if options.codecs else ()
    clips = tuple(dataset.resolve(options.dataset, root, options.ffmpeg)) if options.dataset else ()
    return Places(codecs, clips, root, options.ffmpeg, options.device, options.timeout)


def _lines(comparison: Comparison, look: Look) -> list[str]:
    """Both rate points, a note where their bits differ, and each frame."""
    a, b = (f"{side.codec} {side.rate_point}" for side in comparison.sides)
    lines = [
        f"{name}: {side.bpp:.4f} bpp, {comparison.metric} {side.quality:.2f} dB"
        for name, side in zip((a, b), comparison.sides, strict=True)
    ]
    if (note := rate_note(comparison)) is not None:
        lines.append(note)
    for shot in comparison.shots:
        reason = shot.choice.text(a, b, comparison.chosen_by)
        values = " and ".join(f"{value:.2f}" for value in shot.quality)
        place = _place(shot.crop(look.where))
        lines.append(f"frame {shot.choice.frame}: {values} dB, crop {place}" + (f" ({reason})" if reason else ""))
    return lines


def _place(crop: Crop) -> str:
    """As ffmpeg and ImageMagick write it: 128x128+64+32."""
    return f"{crop.width}x{crop.height}+{crop.left}+{crop.top}"
