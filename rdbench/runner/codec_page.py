"""All of one codec, for `rdbench codecs NAME`: from its card, its settings, and the docstrings of its module.

A sentence of a docstring that says "our choice" tells what a paper leaves open; those of a codec's module are listed.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..card import CodecCard, Host
from ..codec import Codec, SettingsBase
from ..errors import UsageError
from ..registry import create, find_card, load_codec, parse_specs, plugin_errors, trial_clip
from .codec_table import WIDTH, readiness

CHOICE = "our choice"
_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text", NoneType: "none"}
_SIGNS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
_SENTENCES = re.compile(r"(?<=\.)\s+(?=[A-Z])")


@dataclass(frozen=True)
class Option:
    """An option of a codec."""

    name: str
    kind: str
    """The values that it takes, in words."""
    default: str
    line: str
    """What it means; empty where neither a docstring nor a declaration says it."""


@dataclass(frozen=True)
class OptionGroup:
    """The options that one class of settings adds."""

    title: str
    options: tuple[Option, ...]


def codec_page(name: str, host: Host) -> list[str]:
    """The lines of the page. Raises UsageError for an unknown name, RdbenchError for a codec that does not load."""
    specs = parse_specs(name)
    if len(specs) != 1 or specs[0].options:
        raise UsageError(f"{name} is not one name of a codec; write it alone, as in rdbench codecs x265.")
    codec, label = specs[0].name, specs[0].label
    card, cls = find_card(codec), load_codec(codec)
    with plugin_errors(label):
        about, choices = texts_of(cls)
        return [
            *_wrapped(f"{label}: {card.summary}"),
            *_wrapped(f"{card.kind}, {readiness(card, host)}"),
            *_section("Paper" if card.paper else "Reference", _reference(card)),
            *_section("About", about),
            *_section("Rate points", _rate_points(codec, label, card)),
            *_example(codec, label),
            *_section("Presets", _presets(cls)),
            *_option_lines(label, option_groups(cls.Settings)),
            *_section("Left open by the paper, and our choice", choices),
        ]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _section(title: str, texts: Sequence[str]) -> list[str]:
    """A title with indented paragraphs; nothing without any."""
    return ["", title, *(line for text in texts for line in _wrapped(text, "  "))] if texts else []


def _reference(card: CodecCard) -> list[str]:
    paper = card.paper
    if paper is None:
        return [card.reference] if card.reference else []
    places = (f"{paper.venue} {paper.year}" if paper.venue else str(paper.year), paper.arxiv and f"arXiv {paper.arxiv}")
    return [paper.title, ", ".join(filter(None, (paper.authors, *places)))]


def _rate_points(codec: str, label: str, card: CodecCard) -> list[str]:
    """What they are, and the default ones of a clip, which settings without defaults leave out."""
    texts = [] if card.rate_points.startswith("see ") else [f"{card.rate_points[0].upper()}{card.rate_points[1:]}."]
    clip, labels = trial_clip(), _default_labels(codec)
    size = f"{clip.frames} frames of {clip.format.width}x{clip.format.height}"
    return [*texts, f"Default for {size}: {', '.join(labels)}."] if labels else texts


def _default_labels(codec: str) -> list[str]:
    """The default rate points of the trial clip; none for a codec whose settings have no defaults."""
    try:
        return [point.label for point in create(parse_specs(codec)[0]).rate_points(trial_clip())]
    except UsageError:
        return []


def _example(codec: str, label: str) -> list[str]:
    """A command with two of the rate points, in one line."""
    labels = _default_labels(codec)
    some = f" --rate-points {','.join(dict.fromkeys((labels[0], labels[-1])))}" if labels else ""
    return [f"  rdbench run --codecs {codec if '/' in codec else label} --dataset bunny{some}"]


def _presets(cls: type[Codec]) -> list[str]:
    return [
        f"{name}: {', '.join(f'{_dashed(key)}={_text(value)}' for key, value in changes.items()) or 'the defaults'}"
        for name, changes in cls.presets.items()
    ]


def _option_lines(label: str, groups: Sequence[OptionGroup]) -> list[str]:
    """The options of all groups, with an example of how they are written."""
    lines = [line for group in groups for line in ("", *_wrapped(group.title), *_entries(group))]
    every = [option for group in groups for option in group.options if option.kind != option.default]
    examples = [f"{option.name}={option.default}" for option in every if option.default not in ("", "none")]
    return ["", *_wrapped(f"Options, written as {label}[{','.join(examples[:2]) or '...'}]:"), *lines] if every else []


def _entries(group: OptionGroup) -> Iterator[str]:
    for option in group.options:
        default = f"={option.default}" if option.default else ""
        yield from _wrapped(f"{option.name}{default}  ({option.kind})", "  ")
        yield from _wrapped(option.line, "      ")


def option_groups(settings: type[SettingsBase]) -> list[OptionGroup]:
    """The options by the class that declares them, a codec's own first; inherited docstrings hold for them."""
    classes = [cls for cls in settings.__mro__ if issubclass(cls, SettingsBase) and cls is not SettingsBase]
    lines: dict[str, str] = {}
    for cls in reversed(classes):
        lines |= field_docstrings(cls)
    groups, seen = list[OptionGroup](), set[str]()
    for cls in classes:
        names = [name for name in inspect.get_annotations(cls) if name in settings.model_fields and name not in seen]
        seen.update(names)
        options = tuple(_option(name, settings.model_fields[name], lines) for name in names)
        if options:
            groups.append(OptionGroup(_first_sentence(cls.__doc__) or "Options.", options))
    return groups


def _option(name: str, field: FieldInfo, lines: Mapping[str, str]) -> Option:
    default = "" if field.is_required() else _text(field.default)
    return Option(_dashed(name), _kind(field), default, field.description or lines.get(name, ""))


def _kind(field: FieldInfo) -> str:
    """The type of an option in words, with its limits."""
    limits = [
        f"{word} {value:g}"
        for sign, word in _SIGNS
        for value in (getattr(item, sign, None) for item in field.metadata)
        if isinstance(value, int | float)
    ]
    return ", ".join([_type(field.annotation), *limits])


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(_text(value) for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_type(part) for part in get_args(annotation))
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _dashed(name: str) -> str:
    """The name of an option as it is written on the command line."""
    return name.replace("_", "-")


def _text(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def field_docstrings(cls: type[BaseModel]) -> dict[str, str]:
    """The string below each field of a class; none where its source is in no file."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):
        return {}
    return {name: text for name, text in _assigned(tree.body[0]) if name}


def texts_of(cls: type[Codec]) -> tuple[list[str], list[str]]:
    """What the docstrings of the class's module say of it, without their first lines, and the sentences on choices."""
    path = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if path is None or not path.endswith(".py"):
        return [], []
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    body = _flat("\n".join((ast.get_docstring(tree) or "").split("\n")[1:]))
    sentences = _SENTENCES.split(body) if body else []
    about = " ".join(sentence for sentence in sentences if CHOICE not in sentence.lower())
    choices = [sentence for sentence in sentences if CHOICE in sentence.lower()]
    named = [(name, text) for name, text in _documented(tree, cls) if CHOICE in text.lower()]
    return [about] if about else [], [*choices, *(f"{name}: {text}" for name, text in named)]


def _documented(tree: ast.Module, cls: type[Codec]) -> Iterator[tuple[str, str]]:
    """Docstrings of constants, of the codec's class and of its methods; settings have theirs at the options."""
    yield from _assigned(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            yield node.name, _flat(ast.get_docstring(node) or "")
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            yield from ((each.name, _flat(ast.get_docstring(each) or "")) for each in methods)


def _assigned(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that are assigned in a body, each with the string that stands below; several names are joined."""
    body = getattr(node, "body", [])
    for statement, below in pairwise(body):
        if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)):
            continue
        if isinstance(statement, ast.AnnAssign):
            yield ast.unparse(statement.target), _flat(str(below.value.value))
        elif isinstance(statement, ast.Assign):
            yield ast.unparse(statement.targets[0]).strip("()"), _flat(str(below.value.value))


def _flat(text: str) -> str:
    return " ".join(text.split())


def _first_sentence(text: str | None) -> str:
    return _SENTENCES.split(_flat(text or ""))[0]
