"""The table of `rdbench codecs`: it needs the cards of the codecs, not their classes."""

import textwrap

from ..card import CodecCard, Host
from ..errors import RdbenchError
from ..registry import Installed, check_class, find_card, find_codecs, plugin_errors

WIDTH = 80
"""Columns of a terminal that the table fits."""
ROW = "{:<12} {:<12} {:<4}  "


def codec_table(host: Host) -> list[str]:
    """The lines: name, kind, year, and whether it is ready here or what is missing. A broken codec is a row too."""
    indent = " " * len(ROW.format("", "", ""))
    lines = [ROW.format("codec", "kind", "year") + "here"]
    codecs = find_codecs()
    for name in codecs:
        kind, year, state = _row(name, codecs, host)
        text = ROW.format(name, kind, year) + state
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
    return [*lines, "", "rdbench codecs NAME prints all of one: paper, options, presets, rate points."]


def _row(name: str, codecs: Installed, host: Host) -> tuple[str, str, str]:
    """Kind, year and state of a codec."""
    try:
        with plugin_errors(name):
            card = find_card(name, codecs)
            if card.missing(host) is None:
                check_class(name, codecs)
            return card.kind, str(card.year or ""), readiness(card, host)
    except RdbenchError as error:
        return "unknown", "", str(error)


def readiness(card: CodecCard, host: Host) -> str:
    """`ready`, with what was found, or `missing: ` and the reason with its remedy."""
    reason = card.missing(host)
    if reason is not None:
        return f"missing: {reason}"
    found = card.found(host)
    return f"ready: {found}" if found else "ready"
