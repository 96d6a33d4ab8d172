"""A real browser for tests: headless Chromium, driven over a pipe by the DevTools protocol, without other packages."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
SECONDS = 60.0
"""How long an answer of the browser may take."""
PAINTED = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
"""A promise that is kept after the next frame, when the events before it have been handled."""


def find_browser() -> str | None:
    """The path of a Chromium, or None."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@dataclass
class Page:
    """One open page: the addresses it asked for, and as `problems` its exceptions and what its console shows."""

    pipe: "Pipe"
    session: str
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    loaded: bool = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command."""
        return self.pipe.call(self, method, parameters)

    def heed(self, event: dict[str, Any]) -> None:
        """Keeps what an event says."""
        name, values = event["method"], event.get("params", {})
        if name == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif name == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(values["exceptionDetails"])[:500])
        elif name == "Runtime.consoleAPICalled":
            self.problems.append(json.dumps(values["args"])[:500])
        elif name == "Log.entryAdded":
            self.problems.append(values["entry"]["text"])
        elif name == "Page.loadEventFired":
            self.loaded = True

    def open(self, address: str) -> float:
        """Opens the address and returns the seconds until it has loaded and has been painted."""
        self.loaded, start = False, time.monotonic()
        # From an empty page, since another fragment alone would not load it anew.
        self.call("Page.navigate", url="about:blank")
        self.pipe.until(lambda: self.loaded)
        self.loaded, start = False, time.monotonic()
        self.requests.clear()
        self.call("Page.navigate", url=address)
        self.pipe.until(lambda: self.loaded)
        self.value(PAINTED)
        return time.monotonic() - start

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(json.dumps(answer["exceptionDetails"])[:1000])
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Clicks the first element with the pointer."""
        place = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{place}.scrollIntoView({{block: 'center'}})")
        x, y = self.value(f"(() => {{ const b = {place}.getBoundingClientRect(); "
                          "return [b.x + b.width / 2, b.y + b.height / 2]; })()")  # fmt: skip
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Presses and releases a key, such as `Enter`, `ArrowRight` or `Tab`."""
        code = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowRight": 39, "ArrowDown": 40}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        more = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **more, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **more)
        self.value(PAINTED)  # a dialog's `close` event comes after the key's

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Sets the size of the page and whether the system prefers dark colors."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Writes a PNG of the page, or of what is in view."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


class Pipe:
    """The two ends of the pipe to a browser: commands with numbers, their answers, and events of pages."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = reading, writing
        self.pages: dict[str, Page] = {}
        self.buffer = b""
        self.number = 0

    def call(self, page: Page | None, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Sends a command and waits for its answer. Raises AssertionError for one that the browser refuses."""
        self.number += 1
        number = self.number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if page is not None:
            message["sessionId"] = page.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        answers: list[dict[str, Any]] = []
        self.until(lambda: any(answer["id"] == number for answer in answers), answers)
        answer = next(answer for answer in answers if answer["id"] == number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def until(self, done: Any, answers: list[dict[str, Any]] | None = None) -> None:
        """Reads messages until `done()`. Raises AssertionError after SECONDS."""
        limit = time.monotonic() + SECONDS
        while not done():
            left = limit - time.monotonic()
            assert left > 0, "the browser does not answer"
            if not select.select([self.reading], [], [], left)[0]:
                continue
            chunk = os.read(self.reading, 1 << 16)
            assert chunk, "the browser has ended"
            *messages, self.buffer = (self.buffer + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message and answers is not None:
                    answers.append(message)
                elif message.get("sessionId") in self.pages:
                    self.pages[message["sessionId"]].heed(message)

    def new_page(self) -> Page:
        """An empty page whose requests and problems are kept."""
        target = self.call(None, "Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call(None, "Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.look(1280, 900)
        return page


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Pipe]:
    """A running browser with an empty profile."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    # Numbers above 4, so that neither is overwritten before it is put in its place.
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]

    def place() -> None:
        os.dup2(theirs[0], 3)
        os.dup2(theirs[1], 4)

    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=place, start_new_session=True,
    )  # fmt: skip
    for end in (theirs_in, theirs_out, *theirs):
        os.close(end)
    try:
        yield Pipe(ours_in, ours_out)
    finally:
        os.close(ours_out)  # a browser without its pipe ends
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)
