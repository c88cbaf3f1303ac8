"""A headless Chromium of the system's, driven through its DevTools protocol over a pipe: for tests and screenshots."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def why_no_browser() -> str | None:
    """Why there is no browser here, or None."""
    if os.name != "posix":
        return "the pipe to Chromium is written for POSIX"
    if not any(map(shutil.which, _NAMES)):
        return f"none of {', '.join(_NAMES)} is installed"
    return None


class BrowserError(Exception):
    """What Chromium refused, or an exception of the page's script."""


class Page:
    """One tab. `requests` collects the addresses of everything that it fetched or tried to fetch."""

    def __init__(self, send: Any, receive: Any) -> None:
        self._send, self._receive = send, receive
        self._number, self._session = 0, None
        self._events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its result; BrowserError where it fails."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._send(json.dumps(message).encode())
        while True:
            answer = json.loads(self._receive())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._events.append(answer)

    def open(self, url: str, width: int = 1200, height: int = 900, *, dark: bool = False, touch: bool = False) -> None:
        """Loads a page in a window of so many CSS pixels and waits until it has loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._events.append(json.loads(self._receive()))
        self._events = [event for event in self._events if event.get("method") != "Page.loadEventFired"]
        self.settle()

    def settle(self) -> None:
        """Waits for the pictures of the page and for two frames."""
        self.run(
            "Promise.all([...document.images].map(image => image.decode()))"
            ".then(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1)))))"
        )

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise BrowserError(result["exceptionDetails"].get("exception", {}).get("description", "the script failed"))
        return result["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """`mousePressed`, `mouseMoved`, `mouseReleased` or `mouseWheel` at a place of the window."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **{"button": "left", "clickCount": 1, **more})

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, two moves and release of the left button."""
        self.mouse("mousePressed", *start)
        self.mouse("mouseMoved", (start[0] + end[0]) / 2, (start[1] + end[1]) / 2, buttons=1)
        self.mouse("mouseMoved", *end, buttons=1)
        self.mouse("mouseReleased", *end)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """`touchStart`, `touchMove` or `touchEnd` with the fingers at these places."""
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.call("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    def key(self, key: str, code: int = 0) -> None:
        """Presses and releases a key by its DOM name; `code` is its Windows number where the page has to see one."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """A PNG or, by its name, a JPEG of the window, or of the whole page."""
        format = {"format": "png"} if path.suffix == ".png" else {"format": "jpeg", "quality": 88}
        shot = self.call("Page.captureScreenshot", **format, captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for, those inside it (data:) left out."""
        asked = [
            event["params"]["request"]["url"]
            for event in self._events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith("data:")]

    @property
    def complaints(self) -> list[str]:
        """Errors that the browser logged, uncaught exceptions among them."""
        logged = [event["params"]["entry"] for event in self._events if event.get("method") == "Log.entryAdded"]
        thrown = [event for event in self._events if event.get("method") == "Runtime.exceptionThrown"]
        return [entry["text"] for entry in logged if entry["level"] == "error"] + [
            event["params"]["exceptionDetails"]["text"] for event in thrown
        ]


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """A fresh Chromium with one page, ended with the block. RuntimeError where there is none."""
    if (reason := why_no_browser()) is not None:
        raise RuntimeError(f"a browser is needed, but {reason}: apt-get install chromium")
    name = next(filter(None, map(shutil.which, _NAMES)))
    to_read, to_write = os.pipe(), os.pipe()  # Chromium reads from its descriptor 3 and writes to 4

    def place() -> None:
        # High numbers first: 3 and 4 may be taken by the pipes themselves.
        inner, outer = os.dup2(to_read[0], 60), os.dup2(to_write[1], 61)
        os.dup2(inner, 3)
        os.dup2(outer, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]
        process = subprocess.Popen(
            [name, *arguments, f"--user-data-dir={profile}"],
            preexec_fn=place,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read[0])
        os.close(to_write[1])
        try:
            with open(to_read[1], "wb", buffering=0) as out, open(to_write[0], "rb", buffering=0) as into:
                yield Page(lambda data: _write(out, data), _messages(into).__next__)
        finally:
            process.terminate()
            process.wait(20)


def _write(out: Any, data: bytes) -> None:
    view = memoryview(data + b"\0")
    while view:
        view = view[out.write(view) :]


def _messages(into: Any) -> Iterator[bytes]:
    """What Chromium sends, message by message; each ends in a zero byte."""
    buffer = bytearray()
    while True:
        end = buffer.find(0)
        if end >= 0:
            yield bytes(buffer[:end])
            del buffer[: end + 1]
            continue
        chunk = into.read(1 << 16)
        if not chunk:
            raise BrowserError("Chromium has ended")
        buffer += chunk
