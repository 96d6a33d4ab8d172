"""The page in a real browser: it opens from disk without a network, one choice changes all, and names are text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report.page.browser import Page, Pipe, chromium, find_browser
from report.page.sample import record, write_records

from rdbench.report.page import ReportOptions, report_data, write
from rdbench.report.results import write_record

BROWSER = find_browser()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here (Debian: apt-get install chromium)"),
]
EVIL = "<script>document.title='changed'</script>"
PAPER = "codec,dataset,sequence,rate_point,conditions,bpp,psnr_rgb,source\n" + "".join(
    f"paper,set,{sequence},p{i},rgb601/published,{0.09 * 2**i},{30 + 3 * i},a paper\n"
    for sequence in "AB" for i in range(4)
)  # fmt: skip


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipe]:
    assert BROWSER is not None
    with chromium(BROWSER, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three codecs, one with an evil name, on two sequences with two seeds, and a published curve."""
    folder = tmp_path_factory.mktemp("report")
    write_records(folder / "results", {"alpha": 1.0, "beta": 0.7, EVIL: 1.5}, seeds=(0, 1), files=True)
    (folder / "paper.csv").write_text(PAPER)
    options = ReportOptions((folder / "results",), folder / "r.html", (folder / "paper.csv",), anchor="alpha")
    write(report_data(options), options.output)
    return options.output


@pytest.fixture
def page(pipe: Pipe, file: Path) -> Iterator[Page]:
    opened = pipe.new_page()
    opened.open(file.as_uri())
    yield opened
    assert opened.problems == []
    assert [address for address in opened.requests if address.split("#")[0] != file.as_uri()] == []


def count(page: Page, selector: str) -> int:
    return int(page.value(f"document.querySelectorAll({selector!r}).length"))


def text(page: Page, selector: str) -> str:
    return str(page.value(f"document.querySelector({selector!r}).innerText"))


def chip(page: Page, box: str, name: str) -> None:
    """Clicks the button with this text."""
    page.value(
        f"[...document.querySelectorAll('#{box} button')].find((b) => b.textContent.trim() === {name!r}).click()"
    )


def test_it_opens_from_disk_with_one_request_and_shows_every_part(page: Page, file: Path) -> None:
    assert page.requests == [file.as_uri()]
    assert text(page, ".lead").startswith("beta needs 30 % fewer bits than alpha at equal PSNR (95 % interval")
    assert count(page, "#rd .line") == 3
    assert count(page, "#rd .mark") == 12
    assert count(page, "#matrix tbody tr") == 3
    assert count(page, "#time .front") == 1
    for plot in ("difference", "time", "speed", "cost"):
        assert count(page, f"#{plot} .line") > 0, plot
    assert count(page, "#table tbody tr") == 48


def test_a_codec_that_is_not_chosen_disappears_everywhere_and_from_the_address_comes_back(
    page: Page, file: Path
) -> None:
    chip(page, "codecs", "beta")
    assert count(page, "#rd .line") == 2
    assert count(page, "#matrix tbody tr") == 2
    assert count(page, "#table tbody tr") == 32
    assert "beta" not in text(page, "#findings")
    assert count(page, "#difference .line[data-series=beta]") == 0
    address = page.value("location.href")
    assert "codec=alpha" in address
    page.open(address)
    assert count(page, "#rd .line") == 2
    assert page.value("location.href") == address
    chip(page, "codecs", "beta")
    assert page.value("location.hash") == ""
    assert count(page, "#rd .line") == 3


def test_choosing_sequences_changes_means_and_takes_the_interval_away(page: Page) -> None:
    assert " to " in text(page, "#matrix td small")
    chip(page, "sequences", "B")
    assert text(page, "#matrix td small") == "1 sequence, no interval"
    assert "over all common sequences" in text(page, "#findings")
    assert text(page, "#rd-what") == "A"
    assert count(page, "#sequences-table thead th") == 2


def test_every_choice_comes_back_from_the_address(page: Page, file: Path) -> None:
    choice = "metric=ms_ssim_db&scale=linear&view=each&theme=dark&cost=kilobytes&sort=bpp%3Adown&find=p3"
    choice += "&anchor=beta&sequence=A"
    page.open(f"{file.as_uri()}#{choice}")
    assert count(page, "#rd .line.thin") == 0  # of one sequence the lines are whole
    assert page.value("document.documentElement.dataset.theme") == "dark"
    assert text(page, "#table tbody tr td").startswith(EVIL)
    assert count(page, "#table tbody tr") == 6
    page.value("document.querySelector('#scale').dispatchEvent(new Event('change'))")
    found = set(page.value("location.hash.slice(1)").split("&"))
    assert found == set(choice.split("&"))


def test_a_name_that_looks_like_markup_is_text(page: Page) -> None:
    assert page.value("document.title") == "Rate and distortion"
    assert EVIL in text(page, "#codecs")
    assert EVIL in text(page, "#matrix")
    assert count(page, "body script") == 2


def test_the_keyboard_goes_to_a_point_and_opens_its_record(page: Page) -> None:
    page.value("document.querySelector('#view').value = 'each'")
    page.value("document.querySelector('#view').dispatchEvent(new Event('change'))")
    chip(page, "codecs", EVIL)
    page.value("document.querySelector('#rd svg').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.press(key)
    assert "beta" in text(page, "#rd .tip") or "alpha" in text(page, "#rd .tip")
    page.press("Enter")
    assert page.value("document.querySelector('#record').open")
    assert "2 records behind this point" in text(page, "#record-title")
    page.click("#record-body button")
    body = text(page, "#record-body")
    for words in ("rdbench run --codecs", "weights", "90 B, 90 %", "a CPU", "rgb601/1a", "Folder of this record"):
        assert words in body
    assert count(page, "#by-frame svg") == 1
    assert count(page, "#by-epoch svg") == 1
    assert "record=" in page.value("location.hash")
    assert page.value("document.querySelector('#record-body a').href").startswith("file://")
    page.press("Escape")
    assert not page.value("document.querySelector('#record').open")
    assert "record=" not in page.value("location.hash")


def test_a_point_opens_by_a_click(page: Page) -> None:
    page.click("#rd .mark")
    assert "4 records behind this point" in text(page, "#record-title")


def test_published_curves_are_off_until_chosen_and_then_dashed(page: Page) -> None:
    assert count(page, "#rd .hollow") == 0
    assert text(page, "#papers-count") == "Published curves, not run here (0 of 1 shown)"
    chip(page, "papers", "paper (published)")
    assert count(page, "#rd .line.hollow") == 1
    assert page.value("getComputedStyle(document.querySelector('#rd .hollow .stroke')).strokeDasharray") != "none"
    assert "published numbers, whose test conditions may differ" in text(page, "#difference-notes")
    assert count(page, "#matrix tbody tr") == 3


def test_the_csv_file_has_the_chosen_rows_and_all_columns(page: Page) -> None:
    page.value("URL.createObjectURL = (blob) => { window.saved = blob; return 'blob:null/x'; };"
               "HTMLAnchorElement.prototype.click = () => {};")  # fmt: skip
    chip(page, "sequences", "B")
    page.click("#csv")
    lines = page.value("window.saved.text()").splitlines()
    assert len(lines) == 1 + 24
    assert {"label", "bpp", "psnr_rgb", "command", "bitstream_sha256", "ledger"} <= set(lines[0].split(","))


def test_the_table_sorts_by_a_column(page: Page) -> None:
    find = "[...document.querySelectorAll('#table th')].find((h) => h.innerText.startsWith('bpp'))"
    for order in ("ascending", "descending"):
        page.value(f"{find}.querySelector('button').click()")
        assert page.value(f"{find}.ariaSort") == order
        values = page.value(
            f"(() => {{ const at = {find}.cellIndex; "
            "return [...document.querySelectorAll('#table tbody tr')].map((r) => Number(r.cells[at].innerText)); })()"
        )
        assert values == sorted(values, reverse=order == "descending")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_the_width_in_light_and_dark(page: Page, file: Path, width: int, dark: bool) -> None:
    page.look(width, 844, dark)
    page.open(file.as_uri())
    assert page.value("document.documentElement.scrollWidth") == width
    red = page.value("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]")
    assert (int(red) < 60) == dark


@pytest.mark.slow
def test_ten_thousand_records_open_within_three_seconds(pipe: Pipe, tmp_path: Path) -> None:
    codecs = {f"codec{number}": 1 - 0.05 * number for number in range(5)}
    write_records(tmp_path, codecs, [f"clip{number:03}" for number in range(125)], seeds=range(4))
    options: Any = ReportOptions((tmp_path,), tmp_path / "r.html")
    data = report_data(options)
    assert data["count"] == 10_000
    write(data, options.output)
    page = pipe.new_page()
    seconds = min(page.open(options.output.as_uri()) for _ in range(2))
    assert count(page, "#rd .line") == 5
    assert page.problems == []
    assert seconds < 3.0


def test_a_series_with_several_sizes_and_lambdas_is_shown_as_its_hull(pipe: Pipe, tmp_path: Path) -> None:
    write_records(tmp_path, {"alpha": 1.0}, ("A",))
    # (0.3, 34) is below the segment from (0.2, 33) to (0.4, 36); (0.5, 35) is no better than (0.4, 36)
    grid = [(1, 9, 0.1, 30.0), (1, 3, 0.2, 33.0), (1, 1, 0.3, 34.0), (2, 9, 0.4, 36.0), (2, 3, 0.5, 35.0)]
    for place, (size, weight, rate, quality) in enumerate(grid):
        plain = record("beta", "A", 0, place, rate, quality, {})
        own = plain.model_copy(update={"identity": plain.identity | {"point": {"size": size, "lambda": weight}}})
        write_record(tmp_path / "beta" / str(place) / "record.json", own)
    options = ReportOptions((tmp_path,), tmp_path / "r.html", anchor="alpha")
    write(report_data(options), options.output)
    page = pipe.new_page()
    page.open(options.output.as_uri())
    assert count(page, "#rd .line") == 2
    assert count(page, "#rd .mark") == 4 + 3
    assert count(page, "#time .mark") == 4 + 5
    assert "beta, convex hull" in text(page, "#codecs")
    assert page.problems == []
