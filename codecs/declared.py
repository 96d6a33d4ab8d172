"""Codecs declared in TOML files: programs that encode and decode files, added without Python code."""

import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import Field, create_model

from rdbench.codec import Clip, Codec, Host, RatePoint, Settings, Source, Workspace
from rdbench.errors import BitstreamError, EncoderError, MediaError, RdbenchError, UsageError
from rdbench.processes import describe_status, read_end, read_log_tail
from rdbench.video import Video
from rdbench.video.readers import ConvertedVideo

from .programs.declaration import CommandPart, Declaration, read_declaration
from .programs.declared_files import (
    HEADER_BYTES,
    default_name,
    read_output,
    split_header,
    target_format,
    write_header,
    write_input,
)
from .programs.declared_programs import SHIPPED, DeclaredPrograms, declared_programs
from .programs.process import ProgramFailed, Task, run_all
from .programs.templates import fill

PROGRESS_BYTES = 1 << 16
"""Bytes at the end of a log in which the progress is looked for (our choice)."""


class DeclaredCodec(Codec):
    """Base class of declared codecs; `load` makes a subclass for each file."""

    name: ClassVar[str]
    declaration: ClassVar[Declaration]
    installed: ClassVar[DeclaredPrograms]
    runs_outside = True

    @property
    def programs(self) -> Mapping[str, str]:
        """The paths in the settings, absolute because each job runs in its own folder."""
        named = {name: getattr(self.settings, name) for name in self.declaration.paths}
        return {name: _absolute(path) for name, path in named.items() if path is not None}

    @classmethod
    def missing(cls, host: Host) -> str | None:
        """None, or the path that is not given or does not exist, or why the program's version cannot be read."""
        return cls.installed.missing(host)

    @classmethod
    def version(cls, host: Host) -> str:
        """Name, version and hashes of the declaration and of the programs. Raises EncoderError."""
        return cls.installed.version(host)

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """The points of the declaration."""
        return [self._point(value) for value in self.declaration.rate.points]

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """A point of the declaration, or one in its range. Raises UsageError."""
        rate = self.declaration.rate
        before, _, after = rate.label.partition("{rate}")
        digits = label.removeprefix(before).removesuffix(after)
        if rate.range and re.fullmatch(r"-?\d+(\.\d+)?", digits) and before + digits + after == label:
            value = float(digits) if "." in digits else int(digits)
            if rate.range[0] <= value <= rate.range[1] and self._point(value).label == label:
                return self._point(value)
        return super().rate_point(label, clip)

    def _point(self, value: int | float) -> RatePoint:
        return RatePoint(self.declaration.rate.label.format(rate=value), MappingProxyType({"rate": value}))

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Writes the input file, runs the encoder, copies its output. Raises UsageError, EncoderError."""
        declared = self.declaration
        target = target_format(declared.input, source, self.name)
        scratch = workspace.folder.absolute()
        video = source.rgb if declared.input.format == "png" else ConvertedVideo(source.video, target)
        path, frames = write_input(declared.input, video, scratch, workspace.host.ffmpeg)
        written = scratch / "stream.bin"
        written.unlink(missing_ok=True)
        values = {
            **self._values(workspace), **self.settings.model_dump(exclude=set(declared.paths)),
            "input": path, "bitstream": written, "rate": point.settings["rate"], "width": target.width,
            "height": target.height, "fps": target.whole_frame_rate, "fps_num": target.frame_rate.numerator,
            "fps_den": target.frame_rate.denominator, "frames": frames, "last": frames - 1, "chroma": target.chroma,
            "depth": target.bit_depth, "seed": workspace.seed,
        }  # fmt: skip
        self._run("encode", declared.encode, values, scratch, _shown(workspace, frames), EncoderError)
        workspace.report["command"] = shlex.join(fill(declared.encode.command, values))
        if not written.is_file() or written.stat().st_size == 0:
            raise EncoderError(f"The encoder of {self.name} ended without an error but wrote no {{bitstream}}.")
        with bitstream.open("wb") as out:
            if declared.output.format == "yuv":
                out.write(write_header(target))
            out.write(written.read_bytes())

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """The frames that the decoder writes. Raises BitstreamError."""
        declared, scratch = cls.declaration, workspace.folder.absolute()
        raw, fmt = bitstream.read_bytes(), None
        if declared.output.format == "yuv":
            fmt, raw = split_header(raw, cls.name)
        stream, folder = scratch / "stream.bin", scratch / "output"
        stream.write_bytes(raw)
        shutil.rmtree(folder, ignore_errors=True)  # the output of an earlier decoding must not pass for this one's
        folder.mkdir()
        name = declared.output.name or default_name(declared.output.format, "out")
        values = {**cls._values(workspace), "bitstream": stream, "output": folder / name}
        cls._run("decode", declared.decode, values, scratch, lambda log: None, BitstreamError)
        try:
            return read_output(declared.output.format, folder / name, fmt, workspace.host.ffmpeg)
        except (MediaError, OSError) as error:
            raise BitstreamError(
                f"The decoder of {cls.name} ended without an error, but its output is not right ({error}); "
                "check the decode command, or encode again."
            ) from error

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Bytes of our header (where there is one) and of the program's stream."""
        size = bitstream.stat().st_size
        return {"header": HEADER_BYTES, "payload": size - HEADER_BYTES} if cls._has_header() else {"payload": size}

    @classmethod
    def _has_header(cls) -> bool:
        return cls.declaration.output.format == "yuv"

    @classmethod
    def _values(cls, workspace: Workspace) -> dict[str, object]:
        scratch = workspace.folder.absolute()
        own = {"threads": workspace.threads, "device": workspace.device, "scratch": scratch}
        return {**cls.installed.values(workspace.host), **own}

    @classmethod
    def _run(
        cls, what: str, part: CommandPart, values: Mapping[str, object], scratch: Path,
        show: Callable[[str | None], None], error: type[RdbenchError],
    ) -> None:  # fmt: skip
        log = scratch / f"{what}.log"
        task = Task(fill(part.command, values), Path(fill([part.folder], values)[0]), log, bounded=True)
        environment = dict(zip(part.environment, fill(part.environment.values(), values), strict=True))
        try:
            run_all([task], 1, lambda: show(_last(part.progress, log)), environment)
        except OSError as problem:
            raise error(
                f"{task.command[0]}, the program of {cls.name}, cannot be run ({problem}); check it."
            ) from problem
        except ProgramFailed as failed:
            status = describe_status(failed.status)
            raise error(f"{what} of {cls.name} ended with {status}; see {log}: {read_log_tail(log)}") from failed


def _absolute(given: str) -> str:
    """The absolute path; the name of a program on PATH is returned unchanged."""
    path = Path(given).expanduser()
    return str(path.absolute()) if "/" in given or path.exists() else given


def _last(pattern: str | None, log: Path) -> str | None:
    matches = re.findall(pattern, read_end(log, PROGRESS_BYTES)) if pattern else []
    return matches[-1] if matches else None


def _shown(workspace: Workspace, frames: int) -> Callable[[str | None], None]:
    def show(done: str | None) -> None:
        if done is not None and done.isdecimal():
            count = min(int(done), frames)
            workspace.progress(count, frames, f"{count} of {frames} frames coded")

    return show


def load(path: Path) -> type[DeclaredCodec]:
    """The codec that a TOML file declares; its name is the file's. Raises UsageError."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", path.stem):
        raise UsageError(f"{path} cannot be a codec's name; use letters, digits, dots and dashes.")
    declaration, digest = read_declaration(path)
    fields: dict[str, Any] = {name: _field(declaration, name) for name in declaration.settings}
    members = {
        "__module__": __name__, "__doc__": declaration.summary,
        "kind": declaration.kind, "reference": declaration.reference,
        "Settings": create_model("DeclaredSettings", __base__=Settings, **fields),
        "name": path.stem, "declaration": declaration,
        "installed": declared_programs(path, declaration.model_dump(), digest),
        "threads_decide_bits": declaration.threads_decide_bits, "uses_seed": declaration.uses_seed,
    }  # fmt: skip
    return type("DeclaredCodec", (DeclaredCodec,), members)


def _field(declaration: Declaration, name: str) -> tuple[Any, Any]:
    setting = declaration.settings[name]
    if setting.path:
        return str | None, Field(setting.default, exclude=True, description=setting.help or None)
    kind: Any = Literal[setting.choices] if setting.choices else type(setting.default)
    return kind, Field(setting.default, description=setting.help or None)


KVAZAAR = load(SHIPPED / "kvazaar.toml")
DCVC_DC = load(SHIPPED / "dcvc-dc.toml")
DCVC_FM = load(SHIPPED / "dcvc-fm.toml")
COOL_CHIC = load(SHIPPED / "cool-chic.toml")
