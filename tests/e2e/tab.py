"""A tab of headless Chromium that is told what to do, over its DevTools protocol, in real time.

`browser` opens a page and leaves it; virtual time stands still before a page that follows events.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

from tests.e2e.browser import chromium

START_SECONDS = 30


class Tab:
    """One tab, `width` pixels wide; closed at the end of the `with` block with its browser."""

    def __init__(self, width: int = 1280, height: int = 900, *, dark: bool = False, script: bool = True):
        self._folder = tempfile.TemporaryDirectory(prefix="headgate-tab-", ignore_cleanup_errors=True)
        self._width, self._height, self._dark, self._script = width, height, dark, script
        self._number = 0
        self.said: list[str] = []
        """What the page logged, and what the browser complained of."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
                "--disable-background-networking", "--disable-component-update",
                "--remote-debugging-port=0", f"--user-data-dir={self._folder.name}", "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        port_file = Path(self._folder.name) / "DevToolsActivePort"
        limit = time.monotonic() + START_SECONDS
        while not port_file.exists() or "\n" not in port_file.read_text():
            assert time.monotonic() < limit, "Chromium did not start"
            time.sleep(0.05)
        port = port_file.read_text().split("\n")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            (page,) = [one for one in json.load(answer) if one["type"] == "page"]
        self._socket = connect(page["webSocketDebuggerUrl"], max_size=None)
        for domain in ("Page", "Runtime", "Log"):
            self.do(f"{domain}.enable")
        phone = self._width < 600
        self.do("Emulation.setDeviceMetricsOverride", width=self._width, height=self._height,
                deviceScaleFactor=1, mobile=phone)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])
        self.do("Emulation.setScriptExecutionDisabled", value=not self._script)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def do(self, method: str, **parameters: Any) -> Any:
        """Send a command and give its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv(timeout=30))
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]
            if told.get("method") in (
                "Log.entryAdded",
                "Runtime.exceptionThrown",
                "Runtime.consoleAPICalled",
            ):
                self.said.append(json.dumps(told["params"]))

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        self.do("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, code: str) -> Any:
        """Give the value of an expression in the page."""
        told = self.do("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, code: str, seconds: float = 20) -> None:
        """Wait until an expression holds."""
        limit = time.monotonic() + seconds
        while not self.run(code):
            assert time.monotonic() < limit, f"never: {code}"
            time.sleep(0.1)

    def press(self, key: str) -> None:
        """Press a key: `Tab`, `Enter`."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                    **(text if kind == "keyDown" else {}))  # fmt: skip

    def screenshot(self, file: Path) -> None:
        """Take a picture of the whole page, however long."""
        told = self.do("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(told["data"]))
