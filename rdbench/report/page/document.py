"""The file of a page: its data, style and scripts in one piece of HTML."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from ...errors import RdbenchError

MOST_BYTES = 15_000_000
"""Largest size of a page (our choice): a browser opens it at once, and a mail carries it."""
ASSETS = Path(__file__).parent / "assets"
SCRIPTS = (
    "base.js", "data.js", "state.js", "select.js", "chart.js", "plots.js", "matrix.js", "bars.js", "record.js",
    "fails.js", "table.js", "controls.js", "main.js",
)  # fmt: skip
"""The scripts in the order in which they become one strict function."""
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def render(data: dict[str, Any]) -> str:
    """The page. Raises RdbenchError where it is larger than MOST_BYTES."""
    style, script = _asset("page.css"), _script()
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"POLICY": policy, "STYLE": style, "DATA": as_json(data), "SCRIPT": script}
    pieces = _asset("page.html").split("@@")  # text and names of parts in turn
    page = "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))
    size = len(page.encode())
    if size > MOST_BYTES:
        raise RdbenchError(
            f"The page would have {size / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}; choose some results with "
            "--codecs or --dataset."
        )
    return page


def write(data: dict[str, Any], output: Path) -> None:
    """Writes the page. Raises RdbenchError where it is too large or the file cannot be written."""
    page = render(data)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RdbenchError(f"{output} cannot be written ({error.strerror}); choose another place with -o.") from error


def as_json(data: dict[str, Any]) -> str:
    """JSON in ASCII that no HTML parser reads as markup; NaN is refused."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for letter, escape in _ESCAPES.items():
        text = text.replace(letter, escape)
    return text


def _script() -> str:
    """All scripts as one strict function, so that they share names with each other and with nothing else."""
    return '(() => {\n"use strict";\n' + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();\n"


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash by which a content security policy permits this very script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
