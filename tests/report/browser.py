"""Chromium without a window, told what to do through its debugging port.

``python -m report.browser`` in the folder ``tests`` makes the picture of a report in the docs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
_MOST = 64 * 1024 * 1024


@dataclass
class Tab:
    """One page that is open. ``events``: what the browser told meanwhile."""

    line: ClientConnection
    events: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 0

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the debugging protocol."""
        self._number += 1
        self.line.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while (told := json.loads(self.line.recv(timeout=60))).get("id") != self._number:
            self.events.append(told)
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    def show(self, page: Path, *, width: int, height: int, dark: bool) -> None:
        """Open a page on a screen of this size, in its light or its dark form."""
        self.events.clear()
        for domain in ("Page", "Log", "Runtime", "Network"):
            self.ask(f"{domain}.enable")
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=page.as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            self.events.append(json.loads(self.line.recv(timeout=60)))

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self) -> bytes:
        """What the screen shows, as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def tab() -> Iterator[Tab]:
    """A browser of its own, with one empty page; it ends with the context."""
    with tempfile.TemporaryDirectory(prefix="gemini-batch-browser-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                "--remote-debugging-port=0", f"--user-data-dir={home}", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            address = next(line.split()[-1] for line in process.stderr if "DevTools listening on" in line)
            with connect(address, max_size=_MOST, proxy=None) as whole:
                browser = Tab(whole)
                (target,) = [
                    one for one in browser.ask("Target.getTargets")["targetInfos"] if one["type"] == "page"
                ]  # fmt: skip
            page = f"{address.partition('/devtools')[0]}/devtools/page/{target['targetId']}"
            with connect(page, max_size=_MOST, proxy=None) as line:
                yield Tab(line)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def main() -> None:
    """Make the picture of the docs."""
    from gemini_batch.report.spending.files import write_report
    from report.made_up import a_month

    target = Path(__file__).parents[2] / "docs" / "assets" / "report.png"
    with tempfile.TemporaryDirectory() as folder, tab() as opened:
        page = Path(folder) / "report.html"
        write_report(a_month(), page)
        opened.show(page, width=1000, height=1130, dark=False)
        target.write_bytes(opened.picture())


if __name__ == "__main__":
    main()
