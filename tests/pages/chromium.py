"""A headless Chromium that opens a page and tells what it complained of and what it asked the network for.

It is steered over the DevTools protocol, through a pair of pipes, which needs no library.
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PATIENCE = 60.0
"""Seconds to wait for an answer of the browser."""

# No request ever leaves the machine, also not from a page that makes some; a server of the tests is on it.
_FLAGS = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
_FLAGS += ["--no-first-run", "--disable-extensions", "--hide-scrollbars"]
_FLAGS += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]

# The protocol's pipes are the file descriptors 3 and 4 of the browser.
_WIRED = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True)
class Visit:
    """What came of opening a page.

    Attributes:
        complaints: exceptions, dialogs, and errors and warnings of the console.
        requests: addresses that were asked for, other than the page itself and ``data:``.
    """

    complaints: list[str]
    requests: list[str]


class Chromium:
    """A browser with one tab, to be used in a ``with`` statement."""

    def __init__(self, profile: Path) -> None:
        self._numbers = itertools.count(1)
        self._events: list[dict[str, Any]] = []
        self._buffer = b""
        self._session: str | None = None
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        assert PROGRAM is not None
        command = [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WIRED, str(to_browser), str(from_browser), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(to_browser, from_browser),
        )
        os.close(to_browser)
        os.close(from_browser)

    def __enter__(self) -> "Chromium":
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._session = None
        try:
            self.ask("Browser.close")
        except (OSError, TimeoutError):
            self._process.terminate()
        finally:
            self._process.wait(PATIENCE)
            os.close(self._write)
            os.close(self._read)

    def open(self, page: Path | str, *, width: int = 1000, until: str = "true") -> Visit:
        """Load a page, a file or an address, in a window of that width, and wait until it is at rest.

        That is when the JavaScript expression ``until`` holds.
        """
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self._events.clear()
        address = page if isinstance(page, str) else page.resolve().as_uri()
        self.ask("Page.navigate", url=address)
        self._wait_for("Page.loadEventFired")
        # Two frames later, what the page does when it has loaded has begun.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        self._wait_until(until)
        asked = [event["params"]["request"]["url"] for event in self._all("Network.requestWillBeSent")]
        return Visit(self._complaints(), [url for url in asked if url != address and not url.startswith("data:")])

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, or what its promise comes to."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def print_pdf(self) -> bytes:
        """The page as it would be printed, on A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        return base64.b64decode(self.ask("Page.printToPDF", **paper)["data"])

    def screenshot(self) -> bytes:
        """All of the page as a PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask something of the browser; the events that come before its answer are kept."""
        number = self._send(method, **parameters)
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._keep(answer)

    def _send(self, method: str, **parameters: Any) -> int:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return number

    def _keep(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        if event.get("method") == "Page.javascriptDialogOpening":  # the page stands still until it is answered
            self._send("Page.handleJavaScriptDialog", accept=True)

    def _wait_for(self, method: str) -> None:
        while not self._all(method):
            self._keep(self._next())

    def _wait_until(self, expression: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"it never holds that {expression}")
            time.sleep(0.05)

    def _all(self, method: str) -> list[dict[str, Any]]:
        return [event for event in self._events if event.get("method") == method]

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._read, 1 << 20) if ready else b""
            if not piece:
                raise TimeoutError("the browser does not answer, or has ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _complaints(self) -> list[str]:
        thrown = [_thrown(event["params"]["exceptionDetails"]) for event in self._all("Runtime.exceptionThrown")]
        said = [event["params"] for event in self._all("Runtime.consoleAPICalled")]
        words = [
            " ".join(str(part.get("value", part.get("description"))) for part in each["args"])
            for each in said
            if each["type"] in ("error", "warning", "assert")
        ]
        words += [f"alert: {event['params']['message']}" for event in self._all("Page.javascriptDialogOpening")]
        entries = [event["params"]["entry"] for event in self._all("Log.entryAdded")]
        return thrown + words + [entry["text"] for entry in entries if entry["level"] in ("error", "warning")]


def _thrown(details: Mapping[str, Any]) -> str:
    return str(details.get("exception", {}).get("description", details["text"]))


def count_pages(pdf: bytes) -> int:
    """How many pages a PDF of Chromium's has."""
    return pdf.count(b"/Type /Page\n")
