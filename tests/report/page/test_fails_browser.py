"""The part of a page that shows frames, in a real browser: pictures, slider, flicker, error maps, keys, the address."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from report.page.browser import Page, Pipe, chromium, find_browser
from report.page.sample import write_records

from rdbench.report.crops import Choice, Comparison, Shot, Side
from rdbench.report.page import ReportOptions, fails, report_data, write

BROWSER = find_browser()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here (Debian: apt-get install chromium)"),
]
EVIL = "<script>document.title='changed'</script>"


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipe]:
    assert BROWSER is not None
    with chromium(BROWSER, tmp_path_factory.mktemp("profile")) as running:
        yield running


def shot(frame: int) -> Shot:
    """A gray frame; A is brighter by 8 in one square, B by 16 in another."""
    reference = np.full((90, 160, 3), 100, np.uint8)
    a, b = reference.copy(), reference.copy()
    a[2:34, 2:34] += 8
    b[50:82, 100:132] += 16
    return Shot(Choice(frame, (("a", 0),)), reference, (a, b), (40.0, 35.0))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two codecs, one with an evil name, on two sequences, with two frames of the first one."""
    folder = tmp_path_factory.mktemp("report")
    write_records(folder / "results", {"alpha": 1.0, EVIL: 1.5})
    data = report_data(ReportOptions((folder / "results",), folder / "r.html", anchor="alpha"))
    pair = next(one for one in fails.candidates(data) if one.sequence == "A")
    sides = (Side("alpha", "p1", 0.2, 33.0), Side(EVIL, "p0", 0.15, 30.0))
    shown = Comparison("set", "A", "PSNR RGB", "PSNR", sides, (shot(3), shot(6)))
    entry = fails.entry(pair, [pair.ids[0][1], pair.ids[1][0]], shown, "rates")
    write({**data, "fails": {"comparisons": [entry], "notes": [f"No frames of {EVIL}"]}}, folder / "r.html")
    return folder / "r.html"


@pytest.fixture
def page(pipe: Pipe, file: Path) -> Iterator[Page]:
    opened = pipe.new_page()
    opened.open(file.as_uri())
    yield opened
    assert opened.problems == []
    assert {a.split("#")[0] for a in opened.requests if not a.startswith("data:")} == {file.as_uri()}
    assert opened.value("document.title") != "changed"


def text(page: Page, selector: str) -> str:
    return str(page.value(f"document.querySelector({selector!r}).innerText"))


def chip(page: Page, name: str) -> None:
    page.value(f"[...document.querySelectorAll('#fails .chip')].find((b) => b.textContent === {name!r}).click()")


def samples(page: Page, selector: str) -> list[int]:
    """The sample R in the middle of each picture, as the browser has it."""
    found: list[int] = page.value(f"""Promise.all([...document.querySelectorAll({selector!r})].map(async (node) => {{
        if (node.decode) await node.decode();
        const [w, h] = [node.naturalWidth || node.width, node.naturalHeight || node.height];
        const context = Object.assign(document.createElement('canvas'), {{width: w, height: h}}).getContext('2d');
        context.drawImage(node, 0, 0);
        return context.getImageData(w / 2, h / 2, 1, 1).data[0];
    }}))""")
    return found


def test_the_crops_are_seen_side_by_side_as_they_were_decoded(page: Page) -> None:
    assert samples(page, "#fails-view .pixels img") == [100, 100, 116]
    assert page.value("document.querySelector('#fails-view img').getBoundingClientRect().width") > 150
    assert page.value("[...document.querySelectorAll('#fails-view img')].every((one) => one.alt)")
    assert "0.2000 bpp, 40.00 dB" in text(page, "#fails-view")
    assert f"{EVIL} p0" in text(page, "#fails-view")
    assert text(page, "#fails-notes").splitlines()[-1] == f"No frames of {EVIL}"


def test_another_part_of_the_frame_is_one_click_and_stays_in_the_address(page: Page, file: Path) -> None:
    chip(page, "frame 6, worst part")
    assert samples(page, "#fails-view .pixels img") == [100, 108, 100]
    address = page.value("location.href")
    assert "shot=6-2" in address
    page.open(address)
    assert samples(page, "#fails-view .pixels img") == [100, 108, 100]


def test_the_slider_uncovers_the_other_codec(page: Page) -> None:
    chip(page, "slider")
    assert samples(page, "#fails-view .stack img") == [100, 116]
    assert "50%" in page.value("document.querySelector('.above').style.clipPath")
    page.value("document.getElementById('fails-view').focus()")
    page.press("ArrowRight")
    assert "55%" in page.value("document.querySelector('.above').style.clipPath")


def test_flicker_swaps_by_key_and_by_itself(page: Page) -> None:
    chip(page, "flicker")
    assert samples(page, "#fails-flicker img") == [100]
    page.value("document.getElementById('fails-view').focus()")
    page.press("ArrowRight")
    assert samples(page, "#fails-flicker img") == [116]
    page.click("#fails-play")
    assert page.value("""new Promise((done) => {
        const first = document.querySelector('#fails-flicker img').src;
        const look = setInterval(() => {
            if (document.querySelector('#fails-flicker img').src !== first) { clearInterval(look); done(true); }
        }, 20);
    })""")
    assert text(page, "#fails-play") == "Stop"


def test_error_maps_have_one_gain_for_both_codecs(page: Page) -> None:
    chip(page, "error map")
    hint = "document.querySelector('#fails-view .hint')"
    page.value(f"new Promise((done) => setInterval(() => {hint}.textContent && done(), 10))")
    assert samples(page, "#fails-view canvas") == [0, 16 * 8]  # 16 x 8 = 128 is the largest below 256
    assert "times 8 in both maps" in text(page, "#fails-view .hint")


def test_a_caption_opens_the_record(page: Page) -> None:
    page.click("#fails-view figcaption button")
    assert text(page, "#record-title") == "alpha, A, p1"


def test_a_pair_goes_with_its_codec_and_with_its_sequence(page: Page) -> None:
    page.value("[...document.querySelectorAll('#codecs button')].find((b) => b.textContent.trim() === 'alpha').click()")
    assert page.value("document.getElementById('fails-view').hidden")
    assert "No pair of the chosen codecs" in text(page, "#fails-notes")


def test_a_page_without_frames_has_no_such_part(pipe: Pipe, tmp_path: Path) -> None:
    write_records(tmp_path / "results", {"alpha": 1.0, "beta": 1.5})
    write(report_data(ReportOptions((tmp_path / "results",), tmp_path / "r.html")), tmp_path / "r.html")
    page = pipe.new_page()
    page.open((tmp_path / "r.html").as_uri())
    assert page.value("document.getElementById('fails').hidden")
    assert page.problems == []
