"""Look at a page as a person does: headless Chromium, spoken to in the WebDriver protocol (W3C) over plain HTTP."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
ABSENT = "needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key under which the protocol names an element
KEYS = {"Up": "\ue013", "Down": "\ue015", "Left": "\ue012", "Right": "\ue014", "Enter": "\ue007", "Escape": "\ue00c"}
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One window."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._at = ""

    def start(self, profile: Path) -> None:
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._at = f"/session/{made['sessionId']}"

    def end(self) -> None:
        if self._at:
            self._ask("DELETE", self._at)
        self._connection.close()

    def open(self, page: Path | str) -> None:
        """Open a file, or what is at an address."""
        self._do("url", url=page.as_uri() if isinstance(page, Path) else page)

    def enter(self, css: str) -> None:
        """Go on inside a frame, until the next page is opened."""
        self._do("frame", id=self._do("element", using="css selector", value=css))

    def run(self, script: str, *arguments: Any) -> Any:
        return self._do("execute/sync", script=script, args=list(arguments))

    def text(self, css: str) -> str:
        return self.run("return document.querySelector(arguments[0]).innerText", css)

    def texts(self, css: str) -> list[str]:
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", css)

    def attributes(self, css: str, name: str) -> list[str | None]:
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.getAttribute(arguments[1]))", css, name
        )

    def hover(self, css: str, x: int = 0, y: int = 0) -> None:
        """Move the pointer to an element: its middle, and so many pixels from there."""
        self._point(css, x, y)

    def hover_corner(self, css: str, x: float, y: float) -> None:
        """Move the pointer to a place so many pixels from the element's top left corner."""
        left, top = self.run(
            "const [e, y] = [document.querySelector(arguments[0]), arguments[1]];"
            "scrollBy(0, e.getBoundingClientRect().top + y - innerHeight / 2);"
            "const b = e.getBoundingClientRect(); return [b.left, b.top]",
            css,
            y,
        )
        self._move(round(left + x), round(top + y), "viewport")

    def click(self, css: str | None = None) -> None:
        """Click on the middle of an element, or where the pointer is."""
        if css is not None:
            self._point(css, 0, 0)
        buttons = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        self._act({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": buttons})

    def press(self, *keys: str) -> None:
        strokes = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": strokes})

    def focus(self, css: str) -> None:
        self.run("document.querySelector(arguments[0]).focus()", css)

    def choose(self, css: str, value: str) -> None:
        """Choose an option of a menu."""
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('change'))",
            css,
            value,
        )

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Take a window's size, and the system's colours."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self._do(
            "execute/async",
            script="requestAnimationFrame(() => requestAnimationFrame(() => arguments[arguments.length - 1]()))",
            args=[],
        )

    def pixels(self, css: str) -> str:
        """Return what a canvas shows, as text that is equal for equal pictures."""
        self.settle()
        return self.run("return document.querySelector(arguments[0]).toDataURL()", css)

    def screenshot(self, path: Path | None = None) -> bytes:
        self.settle()
        picture = base64.b64decode(self._do_get("screenshot"))
        if path is not None:
            path.write_bytes(picture)
        return picture

    def complaints(self) -> list[str]:
        """Return what the console says: errors of scripts, and everything that the page was not let do."""
        return [entry["message"] for entry in self._do("se/log", type="browser")]

    def _point(self, css: str, x: int, y: int) -> None:
        element = self._do("element", using="css selector", value=css)
        self.run("arguments[0].scrollIntoView({block: 'nearest', inline: 'nearest'})", element)
        self._move(x, y, element)

    def _move(self, x: int, y: int, origin: Any) -> None:
        move = {"type": "pointerMove", "duration": 0, "x": x, "y": y, "origin": origin}
        self._act({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [move]})

    def _act(self, source: dict[str, Any]) -> None:
        self._do("actions", actions=[source])

    def _devtools(self, command: str, **parameters: Any) -> None:
        self._do("goog/cdp/execute", cmd=command, params=parameters)

    def _do(self, command: str, **content: Any) -> Any:
        return self._ask("POST", f"{self._at}/{command}", content)

    def _do_get(self, command: str) -> Any:
        return self._ask("GET", f"{self._at}/{command}")

    def _ask(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        body = None if content is None else json.dumps(content)
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = json.loads(self._connection.getresponse().read())["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{path}: {answer['error']}: {answer['message']}")
        return answer


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with a new profile, and end it."""
    assert DRIVER is not None
    with subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            port = next(found[1] for line in driver.stdout if (found := re.search(r"on port (\d+)\.", line)))
            window = Browser(int(port))
            try:
                window.start(profile)
                yield window
            finally:
                window.end()
        finally:
            driver.terminate()
