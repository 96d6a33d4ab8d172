"""Names on the command line -> codecs, found through the entry-point group `rdbench.codecs`.

numpy, pydantic and `rdbench.codec` are imported when a class is looked at; the list of codecs needs cards only.
"""

import importlib
import importlib.util
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .card import CodecCard
from .errors import RdbenchError, UsageError, did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError

    from .codec import Clip, Codec, Value

GROUP = "rdbench.codecs"
FILES = "rdbench.codec_files"
"""Entry points named by the ending of a file, as `toml`: functions that make a Codec class from such a file."""
SHOWN = 200
"""Characters of a plugin's error message that are shown."""
_SPEC = re.compile(r"([A-Za-z0-9_.-]+|[^\[\]]+\.[a-z]+)(?:\[([^\[\]]*)\])?")


@dataclass(frozen=True)
class CodecSpec:
    """A codec as the user wrote it: `x265[preset=medium,bframes=0]`; an option without `=` is switched on.

    In the name of an option `-` stands for `_`: `tenerv[no-iff]`. The name of a codec declared in a file is the
    file's absolute path.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The name in output; for a file, its name without folder and ending."""
        return Path(self.name).stem if "/" in self.name else self.name

    def __str__(self) -> str:
        inner = ",".join(f"{key}={value}" for key, value in self.options)
        return f"{self.label}[{inner}]" if inner else self.label

    def without(self, names: Collection[str]) -> "CodecSpec":
        """The same codec without these options."""
        return CodecSpec(self.name, tuple((key, value) for key, value in self.options if key not in names))

    def with_options(self, more: Mapping[str, str]) -> "CodecSpec":
        """The same codec with further options; later ones win."""
        return CodecSpec(self.name, tuple({**dict(self.options), **more}.items()))


@contextmanager
def plugin_errors(name: str) -> Iterator[None]:
    """Turns whatever a codec's code raises inside the block, but RdbenchError, into one that names codec and reason.

    A codec comes from any package; SystemExit is included, because a module may call `sys.exit` when it is imported.
    """
    try:
        yield
    except RdbenchError:
        raise
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:SHOWN].rstrip(".")
        raise RdbenchError(
            f"The codec {name!r} is not usable: it raised {type(error).__name__}{reason and f' ({reason})'}; "
            "correct or reinstall its package, or leave it out."
        ) from error


def parse_specs(text: str) -> list[CodecSpec]:
    """`nerv,x265[preset=medium,bframes=0]` -> specs. Raises UsageError."""
    parts = [part.strip() for part in re.split(r",(?![^\[]*\])", text)]
    if not all(parts):
        raise UsageError(f"The list of codecs {text!r} has an empty name; write names separated by single commas.")
    specs = [_parse_spec(part) for part in parts]
    for spec in specs:
        if twin := next((other for other in specs if other.label == spec.label and other.name != spec.name), None):
            raise UsageError(f"{spec.name} and {twin.name} are two codecs of one name; rename one of the files.")
    return specs


def _parse_spec(text: str) -> CodecSpec:
    match = _SPEC.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a codec; write a name, or a name with options as in x265[preset=medium].")
    options = [option.strip() for option in (match[2] or "").split(",") if option.strip()]
    pairs = (option.partition("=") for option in options)
    name = _absolute(match[1]) if _file_reader(match[1]) else match[1]
    named = ((key.strip().replace("-", "_"), value.strip() if eq else "true") for key, eq, value in pairs)
    return CodecSpec(name, tuple(named))


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError as error:  # ~name of a user that does not exist
        raise UsageError(f"The path {path} cannot be resolved ({error}); write it without ~.") from error


def _file_reader(name: str) -> EntryPoint | None:
    """The entry point that makes a codec from a file with such a name; None for the name of an installed codec."""
    if "." not in name:  # reading the metadata of all packages takes 10 ms
        return None
    return next((point for point in entry_points(group=FILES) if name.endswith(f".{point.name}")), None)


Installed = Mapping[str, tuple[EntryPoint, ...]]
"""The entry points of each name: more than one where several packages install a codec of that name."""


def find_codecs() -> Installed:
    """Every installed codec by name; only the use of a name that two packages install is refused."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, {}).setdefault(point.value, point)
    return {name: tuple(points.values()) for name, points in sorted(found.items())}


def _single(name: str, codecs: Installed) -> EntryPoint:
    """The entry point of this name. Raises UsageError where there is none, RdbenchError where there are several."""
    if name not in codecs:
        raise UsageError(f"There is no codec {name!r}{did_you_mean(name, codecs)}")
    if len(codecs[name]) > 1:
        packages = " and ".join(f"{p.dist.name if p.dist else 'a package'} ({p.value})" for p in codecs[name])
        raise RdbenchError(f"Two packages install a codec named {name!r}: {packages}; uninstall one of them.")
    return codecs[name][0]


def _load_entry(name: str, codecs: Installed) -> Any:
    if reader := _file_reader(name):
        if Path(name).stem in codecs:
            raise UsageError(f"{name} has the name of an installed codec; rename the file.")
        with plugin_errors(name):
            return reader.load()(Path(name))
    point = _single(name, codecs)
    with plugin_errors(name):
        return point.load()


def find_card(name: str, codecs: Installed | None = None) -> CodecCard:
    """The card of a codec, without its heavy imports; `codecs` saves looking for the installed ones again.

    Raises UsageError for an unknown name, RdbenchError for a codec that cannot be described.
    """
    entry = _load_entry(name, find_codecs() if codecs is None else codecs)
    if isinstance(entry, CodecCard):
        return entry
    with plugin_errors(name):
        return _card_of(name, _checked(name, entry))


def _card_of(name: str, cls: "type[Codec]") -> CodecCard:
    summary = (cls.__doc__ or "").strip().split("\n")[0]
    load = f"{cls.__module__}:{cls.__qualname__}"
    return CodecCard(
        name, cls.kind, summary, cls.reference, "see rdbench plan", load, cls.signatures(), cls.missing, cls.version
    )


def check_class(name: str, codecs: Installed | None = None) -> None:
    """Makes a codec with its default settings and asks for its rate points, where that needs no heavy imports.

    Of the codecs of rdbench itself that have a card, only the module is looked for; those of other packages are loaded.
    One whose settings have no default is not made. Raises RdbenchError.
    """
    entry = _load_entry(name, find_codecs() if codecs is None else codecs)
    with plugin_errors(name):
        if isinstance(entry, CodecCard):
            _find_module(entry.load.partition(":")[0])
            if entry.load.startswith("rdbench."):
                return
            entry = load_codec(name)
        _try_class(_checked(name, entry))


def _try_class(cls: "type[Codec]") -> None:
    from pydantic import ValidationError

    try:
        settings = cls.Settings()
    except ValidationError:
        return
    list(cls(settings).rate_points(trial_clip()))


def trial_clip() -> "Clip":
    """The clip whose rate points `check_class` asks for (our choice)."""
    from .codec import Clip
    from .video import VideoFormat

    return Clip(VideoFormat(1280, 720), 120)


def _find_module(name: str) -> None:
    """Raises ImportError where there is no such module; its parent packages are imported."""
    if importlib.util.find_spec(name) is None:
        raise ImportError(f"there is no module {name}")


def load_codec(name: str) -> "type[Codec]":
    """The codec's class; imports what the codec needs (torch, for one). Raises RdbenchError where that fails."""
    return _class_of(name, _load_entry(name, find_codecs()))


def codec_source(name: str) -> str:
    """What `load_class` takes for this codec: `module:object` of its entry point, or the file that declares it."""
    return name if _file_reader(name) else _single(name, find_codecs()).value


def load_class(source: str) -> "type[Codec]":
    """The class of a codec by its `codec_source`, without a look at the other installed ones. Raises RdbenchError."""
    if "/" in source:
        return load_codec(source)
    with plugin_errors(source):
        entry = EntryPoint(source, source, GROUP).load()
    return _class_of(source, entry)


def _class_of(name: str, entry: Any) -> "type[Codec]":
    with plugin_errors(name):
        if not isinstance(entry, CodecCard):
            return _checked(name, entry)
        module, _, attribute = entry.load.partition(":")
        return _checked(name, getattr(importlib.import_module(module), attribute))


def _checked(name: str, entry: Any) -> "type[Codec]":
    from .codec import Codec

    if not (isinstance(entry, type) and issubclass(entry, Codec)):
        raise RdbenchError(f"The entry point of {name!r} is neither a CodecCard nor a Codec class; fix its package.")
    return entry


def create(spec: CodecSpec, preset: str | None = None) -> "Codec":
    """The codec with its preset's settings and the user's options on top. Raises UsageError naming the option."""
    from pydantic import ValidationError

    cls = load_codec(spec.name)
    with plugin_errors(spec.label):
        try:
            chosen: dict[str, Value] = dict(cls.presets.get(preset, {})) if preset else {}
            settings = cls.Settings(**{**chosen, **dict(spec.options)})
        except ValidationError as error:
            raise UsageError(_explain(spec, cls, error)) from error
        return cls(settings)


def _explain(spec: CodecSpec, cls: "type[Codec]", error: "ValidationError") -> str:
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else "settings"
    if first["type"] == "extra_forbidden":
        return f"{spec.label} has no option {field!r}{did_you_mean(field, cls.Settings.model_fields)}"
    return f"The option {field!r} of {spec.label} cannot be {first['input']!r}: {first['msg'].lower()}."


def sniff(head: bytes) -> str:
    """The name of the codec whose bitstreams begin with these bytes. Raises UsageError where there is none."""
    codecs, unusable = find_codecs(), list[str]()
    for name in codecs:
        try:
            with plugin_errors(name):
                if any(head.startswith(signature) for signature in find_card(name, codecs).signatures):
                    return name
        except RdbenchError:
            unusable.append(name)
    without = f" ({', '.join(unusable)} cannot be asked; see rdbench codecs)" if unusable else ""
    raise UsageError(f"No codec recognizes this bitstream{without}; name one with --codec.")
