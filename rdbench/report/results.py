"""The record of a rate point, and folders of records as a DataFrame."""

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..codec import FIT_COLUMNS, FIT_CURVE
from ..errors import RdbenchError

RECORD = "record.json"
"""Name of a record's file."""

SCHEMA = 2
"""The schema of the records that this version writes; records without a number are of schema 1."""

Number = float | None


class Record(BaseModel):
    """One rate point of one codec on one sequence; what does not apply is None. Units are in the names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )

    codec: str
    dataset: str
    sequence: str
    rate_point: str
    preset: str | None = None
    """The preset that was asked for; None: the codec's defaults."""
    settings: dict[str, Any] = {}
    conditions: str
    width: int
    height: int
    frames: int
    frame_rate: float
    bit_depth: int
    bits: int | None = None
    bpp: Number = None
    kbps: Number = None
    psnr_rgb: Number = None
    psnr_y: Number = None
    psnr_u: Number = None
    psnr_v: Number = None
    psnr_yuv: Number = None
    ms_ssim: Number = None
    ms_ssim_db: Number = None
    vmaf: Number = None
    encode_seconds: Number = None
    encode_fps: Number = None
    decode_seconds: Number = None
    decode_fps: Number = None
    render_fps: Number = None
    parameters: int | None = None
    kmacs_per_pixel: Number = None
    peak_memory_mb: Number = None
    energy_joules: Number = None
    """Sum of `energy_stages`; None where the machine does not measure it, or other jobs ran beside this one."""
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    host: str = ""
    cpu: str = ""
    gpu: str | None = None
    started: str = ""
    versions: dict[str, str] = {}
    command: str = ""
    clip_sha256: str = ""
    """Of the frames in use, in their own planes."""
    bitstream_sha256: str | None = None
    status: Literal["ok", "failed"]
    error: str | None = None
    id: str
    first_frame_seconds: Number = None
    """Time from the start of decoding to the first frames in host memory."""
    seek_seconds: Number = None
    """Time from the start of decoding to the frame in the middle of the clip, which INR codecs render alone."""
    lossless_frames: int | None = None
    ledger: dict[str, int] = {}
    parts: dict[str, float] = {}
    schema_number: int = Field(1, alias="schema")
    identity: dict[str, Any] = {}
    """Exactly what `id` is a hash of."""
    frames_sha256: str | None = None
    """Of the decoded frames."""
    cpu_cores: int | None = None
    """Cores that the job could use."""
    gpu_driver: str | None = None
    jobs: int | None = None
    """Jobs that ran side by side on the machine."""
    load: Number = None
    """The machine's load average over the minute before the start."""
    decode_samples: list[float] = []
    """Seconds of each decoding but the first; `decode_seconds` is their median, or the first where there are none."""
    decode_cold_seconds: Number = None
    """Seconds of the first decoding in a fresh process."""
    energy_stages: dict[str, float] = {}
    """Joules by stage (`encode`, one `decode`)."""
    seal: list[str] = []
    """What was enforced while the bitstream was decoded: `environment`, `network`, `files`."""
    execution: str | None = None
    """How a codec says that it computed: compiled or not and why, and the GPU's switches."""
    fast_precision: str | None = None
    """Number format of a second decoding, which `--precision` asks for; the next ones are of it."""
    fast_decode_seconds: Number = None
    fast_decode_fps: Number = None
    fast_render_fps: Number = None
    fast_psnr_difference: Number = None
    """dB: PSNR of its frames, in RGB or where the conditions have none (6Y + U + V)/8, minus that of float32's."""
    fast_largest_difference: int | None = None
    """Levels: the largest difference of a decoded sample from float32's."""
    shown_as: str | None = None
    """How figures and lists name the codec, options aside, where that is not its own name."""


COLUMNS = tuple(field.alias or name for name, field in Record.model_fields.items())
"""The columns of the table; the fields of the design first, in its order."""

QUALITY = ("psnr_rgb", "psnr_y", "psnr_u", "psnr_v", "psnr_yuv", "ms_ssim", "ms_ssim_db", "vmaf")


def write_record(path: Path, record: Record) -> None:
    """Writes the record atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(record.model_dump_json(indent=1))
    os.replace(partial, path)


def read_record(path: Path) -> Record:
    """The record in the file. Raises RdbenchError naming the file and the field that is wrong, or its newer schema."""
    return _read(os.fspath(path))


def _read(path: str) -> Record:
    """`read_record` of a path as text: to make a `Path` and to open it takes as long as to check the record."""
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.readall().decode()
        record = Record.model_validate_json(text)
        if record.schema_number > SCHEMA:
            _refuse_newer(path, text)
        return record
    except ValidationError as error:
        _refuse_newer(path, text)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RdbenchError(f"The record {path} is damaged ({where}: {first['msg']}); run it again.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RdbenchError(f"The record {path} cannot be read ({error}); run it again.") from error


def _refuse_newer(path: str, text: str) -> None:
    """Raises RdbenchError for a record of a later version of rdbench, whose fields this one does not know."""
    with suppress(ValueError, RecursionError):
        values = json.loads(text)
        number = values.get("schema") if isinstance(values, dict) else None
        if isinstance(number, int) and number > SCHEMA:
            raise RdbenchError(
                f"The record {path} has schema {number}, and this rdbench reads up to {SCHEMA}; update rdbench."
            )


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """A row for each record."""
    rows = [vars(record) for record in records]  # a model's attributes, without its lookup for each of them
    fields = zip(COLUMNS, Record.model_fields, strict=True)
    return pd.DataFrame({column: [row[name] for row in rows] for column, name in fields})


def find_records(folder: Path) -> list[Path]:
    """The records below a folder, sorted; links to folders are not followed, folders without permission left out."""
    return [Path(text) for text in _record_paths(str(folder))]


def _record_paths(folder: str) -> list[str]:
    """What `find_records` gives, as text."""
    found: list[str] = []
    waiting = [folder]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name == RECORD and (not entry.is_symlink() or os.path.exists(entry.path)):
                    found.append(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return sorted(found, key=lambda text: text.split(os.sep))  # in the order of paths


def load(folders: Sequence[Path]) -> pd.DataFrame:
    """All records below the folders; of two with one id, the finished one, else the later. Raises RdbenchError."""
    return to_frame(record for record, _ in _latest(folders).values())


def load_located(folders: Sequence[Path]) -> tuple[pd.DataFrame, dict[str, Path]]:
    """What `load` gives, and the folder of each record by its id. Raises RdbenchError."""
    found = _latest(folders)
    places = {name: Path(path).parent for name, (_, path) in found.items()}
    return to_frame(record for record, _ in found.values()), places


def _latest(folders: Sequence[Path]) -> dict[str, tuple[Record, str]]:
    """Each record with its file, by its id; see `load`."""
    found: dict[str, tuple[Record, str]] = {}
    for folder in folders:
        if not folder.exists():
            raise RdbenchError(f"There is no folder {folder}; name one that rdbench run wrote.")
        for path in _record_paths(str(folder)):
            record = _read(path)
            known = found[record.id][0] if record.id in found else None
            if known is None or (record.status == "ok", record.started) > (known.status == "ok", known.started):
                found[record.id] = record, path
    if not found:
        names = ", ".join(str(folder) for folder in folders)
        raise RdbenchError(f"There are no records in {names}; rdbench run writes them.")
    return found


def load_training_curves(folders: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """The training curves beside the records, by the records' id; columns stage, epoch, seconds, psnr.

    Raises RdbenchError for a damaged one.
    """
    curves: dict[str, pd.DataFrame] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob(FIT_CURVE))):
        if not path.with_name(RECORD).exists():
            continue
        try:
            curves[read_record(path.with_name(RECORD)).id] = pd.read_csv(path)[list(FIT_COLUMNS)]
        except (ValueError, KeyError, OSError) as error:
            raise RdbenchError(f"The curve {path} is damaged ({error}); run its job again, or delete it.") from error
    return curves
