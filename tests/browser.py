"""A real browser for tests of what is shown: Debian's chromium, driven by playwright, in a thread of its own.

Playwright's loop would run in the thread of the tests, where no other loop could; so it has one to itself.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
ROOT = Path(__file__).parent.parent
AXE = Path(os.environ.get("CATENA_AXE") or ROOT / ".venv/npm/node_modules/axe-core/axe.min.js")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Seen:
    """What happened in a page beside what it shows: dialogs, lines in its console, errors, requests."""

    dialogs: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        """Begin to note what happens."""
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda line: self.console.append(line.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


class Browser:
    """One chromium for all tests; every use has a context of its own, without cookies or cache of another."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "browser")
        self._driver = self._chromium = None
        self._thread.submit(self._start).result()

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self._driver = sync_playwright().start()
        self._chromium = self._driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)

    def use(self, work: Callable[[Any, Seen], T], **context: Any) -> T:
        """Call `work(page, seen)` in the browser's thread, and return what it returns.

        Args:
            work: What to do; `page` is playwright's (sync).
            context: As for playwright's `new_context`; the viewport is WIDE unless said.
        """
        return self._thread.submit(self._use, work, {"viewport": WIDE} | context).result()

    def _use(self, work: Callable[[Any, Seen], T], options: dict[str, Any]) -> T:
        context = self._chromium.new_context(**options)
        try:
            context.set_default_timeout(20_000)
            seen, page = Seen(), context.new_page()
            seen.watch(page)
            return work(page, seen)
        finally:
            context.close()

    def close(self) -> None:
        """End the browser and its thread."""
        self._thread.submit(lambda: (self._chromium.close(), self._driver.stop())).result()
        self._thread.shutdown()


@pytest.fixture(scope="session")
def browser():
    """A chromium that is there; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    made = Browser()
    yield made
    made.close()


@pytest.fixture(scope="session")
def axe():
    """The rules of accessibility, as `axe(page)`: the findings that are serious or critical; skips where they are missing."""
    if not AXE.exists():
        pytest.skip(f"no axe-core at {AXE}: make test installs it, or say where with CATENA_AXE")
    source = AXE.read_text("utf-8")

    def findings(page: Any) -> list[str]:
        page.evaluate(source)  # not a script of the page: its policy forbids those
        found = page.evaluate("axe.run().then(result => result.violations)")
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
            for each in found
            if each["impact"] in {"serious", "critical"}
            for node in each["nodes"]
        ]

    return findings
