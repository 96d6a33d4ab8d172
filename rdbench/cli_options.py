"""The options that several commands of the command line have, and what a shell completes in them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer


def complete_codecs(incomplete: str) -> list[str]:
    """The names of codecs that may end a list of them: `nerv,x2` -> `nerv,x264`, `nerv,x265`."""
    from .registry import find_codecs

    return _completed(incomplete, find_codecs())


def complete_datasets(incomplete: str) -> list[str]:
    """The names of datasets that may end a list of them."""
    from .clips.manifest import find_datasets

    return _completed(incomplete, find_datasets())


def _completed(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


Ffmpeg = Annotated[str | None, typer.Option("--ffmpeg", help="Path of an ffmpeg to use instead of the bundled one.")]
DataRoot = Annotated[str | None, typer.Option("--data-root", help="Folder of the datasets (or set RDBENCH_DATA).")]
Format = Annotated[str, typer.Option("--format", help="table, csv, json, markdown or latex.")]
Folders = Annotated[
    list[Path],
    typer.Argument(help="Folders of records, CSV files of published curves, or `published`."),
]
Dataset = Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")]
Force = Annotated[bool, typer.Option("--force-conditions", help="Compare across test conditions; a note marks it.")]
Chosen = Annotated[
    str | None, typer.Option("--codecs", help="Only these: names of codecs or labels, separated by commas.")
]
Where = Annotated[
    str | None, typer.Option("--where", help="Only results with this: 'sequence == \"Jockey\" and bpp < 0.2'.")
]
NewLabels = Annotated[
    list[str] | None, typer.Option("--label", help="Another name for a series: 'x265\\[preset=fast]=x265 fast'.")
]
Sort = Annotated[str | None, typer.Option("--sort", help="A column to sort by; -COLUMN: the greatest first.")]
PerSequence = Annotated[bool, typer.Option("--per-sequence", help="A row or a panel for each sequence.")]
SweepFile = Annotated[Path | None, typer.Argument(metavar="[SWEEP.toml]", help="A TOML file with the same options.")]
CodecName = Annotated[str, typer.Argument(help="nerv, hinerv[epochs=300], x265, ...", autocompletion=complete_codecs)]
Codecs = Annotated[
    str | None, typer.Option("--codecs", help="nerv,x265[preset=medium], ...", autocompletion=complete_codecs)
]
DatasetSpec = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        autocompletion=complete_datasets,
        help="uvg, uvg:Jockey,Beauty, bunny@320x180, a file, a folder; several with commas.",
    ),
]
FrameCount = Annotated[int | None, typer.Option("--frames", help="Only the first N frames.")]
RatePoints = Annotated[str | None, typer.Option("--rate-points", help="How many, or labels: 4 or crf27,crf32.")]
Preset = Annotated[str | None, typer.Option("--preset", help="paper, quick, best or tiny.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="codec.option=value")]
ConditionsName = Annotated[str | None, typer.Option("--conditions", help="rgb601 (default), rgb709 or yuv420.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="psnr,ms_ssim (default), vmaf.")]
Seed = Annotated[int | None, typer.Option("--seed")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Repeat each training with these seeds: 0,1,2.")]
Device = Annotated[str | None, typer.Option("--device", help="auto (default), cpu, cuda.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="Also decode in bfloat16 or float16; float32 (default) defines the frames."),
]
Threads = Annotated[int | None, typer.Option("--threads", help="Threads of each job (default: cores / jobs).")]
