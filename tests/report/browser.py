"""A headless Chromium, driven over the DevTools protocol through a pipe: no driver and no port is needed."""

from __future__ import annotations

import base64
import itertools
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

Json = dict[str, Any]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
SECONDS = 60.0


def chromium() -> str:
    """The program; call it only where the tool ``chromium`` is there."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found is not None
    return found


@dataclass
class Page:
    """One tab. ``events`` are all messages that no command answered, in order."""

    to_browser: int
    from_browser: int
    session: str = ""
    events: list[Json] = field(default_factory=list)
    rest: bytes = b""
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def call(self, method: str, **parameters: Any) -> Json:
        """The result of a command; fails the test on an error or when no answer comes in a minute."""
        number = next(self.ids)
        message: Json = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: Json = answer["result"]
                return result
            self.events.append(answer)

    def receive(self) -> Json:
        """The next message of the browser."""
        end = time.monotonic() + SECONDS
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.from_browser], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no answer from Chromium in {SECONDS} s"
            block = os.read(self.from_browser, 1 << 20)
            assert block, "Chromium closed the pipe"
            self.rest += block
        message, _, self.rest = self.rest.partition(b"\0")
        answer: Json = json.loads(message)
        return answer

    def open(self, path: Path) -> None:
        """Load a file and wait for its load event."""
        self.events.clear()
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not self.named("Page.loadEventFired"):
            self.events.append(self.receive())

    def named(self, method: str) -> list[Json]:
        """Parameters of the events of that name so far."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited; fails the test when it throws."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def look(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """Size of the view in CSS pixels, and the preferred colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        # The page hears of both in the next frame, and plotly resizes a tenth of a second later.
        self.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 300)))")

    def screenshot(self) -> bytes:
        """The whole page, not only what is in view, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self) -> bytes:
        """The page as it prints on A4."""
        answer = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        return base64.b64decode(answer["data"])


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page in a fresh Chromium with the empty folder ``profile``; it is gone afterwards."""
    commands, answers = os.pipe(), os.pipe()

    def plumb() -> None:
        # Chromium reads commands from descriptor 3 and answers on 4; copies keep the two from overwriting each other.
        read, write = os.dup(commands[0]), os.dup(answers[1])
        os.dup2(read, 3)
        os.dup2(write, 4)

    process = subprocess.Popen(
        [chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        preexec_fn=plumb, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(commands[0])
    os.close(answers[1])
    page = Page(commands[1], answers[0])
    try:
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        yield page
    finally:
        page.session = ""
        if process.poll() is None:
            os.write(page.to_browser, b'{"id":0,"method":"Browser.close"}\0')
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(commands[1])
        os.close(answers[0])
