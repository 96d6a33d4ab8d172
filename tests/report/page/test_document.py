"""The file: data that no parser reads as markup, a policy without a network, a limit of size."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report.page.sample import write_records

from rdbench.errors import RdbenchError
from rdbench.report.page import ReportOptions, document, render, report_data, write

EVIL = "</script><script>alert(1)</script><!-- &amp; \u2028"


class Parts(HTMLParser):
    """The elements of a page with their attributes, and the text inside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in self.texts:
            self.texts[self.cdata_elem][-1] += data


@pytest.fixture
def page(tmp_path: Path) -> str:
    write_records(tmp_path, {"a": 1.0, EVIL: 0.5}, ("A",), error=EVIL, settings={EVIL: EVIL})
    return render(report_data(ReportOptions((tmp_path,), tmp_path / "r.html")))


def test_text_of_records_is_data_and_never_markup(page: str) -> None:
    parts = Parts(page)
    assert sum(tag == "script" for tag, _ in parts.tags) == 2
    assert EVIL not in page
    data: dict[str, Any] = json.loads(parts.texts["script"][0])
    assert EVIL in [one["label"] for one in data["series"]]


def test_the_policy_permits_this_script_and_style_alone(page: str) -> None:
    parts = Parts(page)
    policy = next(a["content"] or "" for tag, a in parts.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind, text in (("script-src", parts.texts["script"][1]), ("style-src", parts.texts["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


def test_the_page_names_no_address_and_no_handler_in_markup(page: str) -> None:
    for tag, attributes in Parts(page).tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style")], tag
        assert tag not in ("link", "iframe", "img", "object", "embed")
    assert re.findall(r"https?://[^\s\"']+", page) == ["http://www.w3.org/2000/svg"]


@pytest.mark.parametrize("name", document.SCRIPTS)
def test_scripts_are_short_and_never_read_text_as_markup(name: str) -> None:
    text = (document.ASSETS / name).read_text()
    assert len(text.splitlines()) < 400
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\(", text)


def test_every_asset_is_used() -> None:
    assert {path.name for path in document.ASSETS.iterdir()} == {*document.SCRIPTS, "page.html", "page.css"}


def test_a_page_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(document, "MOST_BYTES", 1_000)
    with pytest.raises(RdbenchError, match="choose some results with --codecs or --dataset"):
        write({}, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_a_page_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RdbenchError, match="cannot be written"):
        write({}, tmp_path / "nowhere" / "r.html")
