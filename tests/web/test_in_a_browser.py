"""A person at the page, in a real browser: watches a run, steers it, finds an item, with keys and without a mouse."""

import os
import re
import time

import pytest

from browser import PHONE, WIDE
from catena.engine.steering import read_progress
from catena.testing.provider import spawn
from chains import LABELS, chain_text, finish, openai, rows_of, start, texts
from web_session import serving

SOAK = bool(os.environ.get("CATENA_SOAK"))
VIEWS = (
    "/",
    "/items",
    "/items?disagree=1&order=unsure",
    "/items?search=nowhere",
    "/items/0",
    "/items/5",
    "/nothing",
)


def enter(page, served):
    """Open the printed address, as a person does."""
    page.goto(served.url)
    page.wait_for_url(f"{served.origin}/")


def test_a_person_watches_a_run_and_steers_it(browser, tmp_path):
    """It is paused, resumed, given more calls and another budget, finishes before their eyes; then they find a disagreement."""
    with spawn(labels=list(LABELS), latency=1.0, sharpness=2.0) as provider:
        chain = [
            openai(provider, name, concurrency=6, price={"input": 1.0, "output": 1.0})
            for name in ("small", "big")
        ]
        (tmp_path / "task.yaml").write_text(chain_text(*chain, data={"id": "id"}, budget={"usd": 9}))
        rows_of(texts(160)).to_csv(tmp_path / "rows.csv", index=False)
        run = tmp_path / "run"
        process = start("run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", run)
        while not (run / "progress.json").exists():
            time.sleep(0.05)

        def watch(page, seen):
            enter(page, served)
            page.get_by_text("running", exact=True).wait_for()
            page.get_by_role("button", name="Pause").click()
            page.get_by_text("none begin").wait_for()
            paused_at = read_progress(run).links[0].answered
            page.get_by_label("small, 1 to 512").fill("24")
            page.get_by_role("button", name="Set calls at a time").click()
            page.get_by_text("0 of 24").wait_for()
            page.get_by_label("US dollars").fill("12.5")
            page.get_by_role("button", name="Set budget").click()
            page.get_by_text("of $12.50").wait_for()
            assert read_progress(run).links[0].answered == paused_at
            provider.control(latency=0.05)
            page.get_by_role("button", name="Resume").click()
            page.get_by_text("finished", exact=True).wait_for(timeout=60_000)
            page.get_by_role("link", name="Items").click()
            page.locator("#index[data-live]").wait_for(state="detached")
            page.reload()
            page.get_by_label(re.compile("links disagree")).check()
            page.get_by_role("button", name="Show").click()
            rows = page.locator("[data-item]")
            assert rows.count() > 3
            assert page.locator("tbody tr").count() == page.locator("tbody tr", has_text="disagree").count()
            rows.first.click()
            page.get_by_text("links disagree").wait_for()
            said = page.locator(".votes-of .chip").all_text_contents()
            return said, seen

        try:
            with serving(run) as served:
                said, seen = browser.use(watch)
                assert served.end()[0] == 0
        finally:
            code, _, err = finish(process)
        assert code == 0, err
    assert len(set(said)) > 1
    assert (seen.errors, seen.dialogs, seen.console) == ([], [], [])


def test_keys_lead_through_the_items(browser, page):
    """Search, move, open, next, back: without a mouse; what has the focus is seen, and the first thing skips to the content."""

    def press(tab, seen):
        tab.goto(f"{page.origin}/items")
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert tab.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "main"
        tab.keyboard.press("/")
        assert tab.evaluate("document.activeElement.id") == "search"
        assert outlined(tab)
        tab.keyboard.type("njk")
        assert tab.input_value("#search") == "njk"
        tab.fill("#search", "text")
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/items?search=text*")
        tab.keyboard.press("j")
        tab.keyboard.press("j")
        tab.keyboard.press("k")
        assert tab.evaluate("document.activeElement.textContent") == "i0"
        assert outlined(tab)
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/items/0?search=text")
        tab.keyboard.press("n")
        tab.wait_for_url("**/items/1?search=text")
        tab.keyboard.press("p")
        tab.wait_for_url("**/items/0?search=text")
        tab.keyboard.press("u")
        tab.wait_for_url("**/items?search=text")
        return seen.errors

    assert browser.use(page.with_session(press)) == []


def outlined(tab):
    """Whether what has the focus has a line around it."""
    return tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(WIDE, "dark"), (PHONE, "light"), *([(WIDE, "light"), (PHONE, "dark")] if SOAK else [])],
    ids=lambda each: each if isinstance(each, str) else str(each["width"]),
)
def test_the_rules_of_accessibility(browser, axe, page, size, scheme):
    """axe-core has no serious finding on any view, nothing is wider than the window, and every request stays here."""

    def look(tab, seen):
        found = {}
        for view in VIEWS:
            tab.goto(f"{page.origin}{view}")
            found[view] = axe(tab)
            if tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found[view].append("wider than the window")
        assert {request.split("/")[2] for request in seen.requests} == {page.origin.split("/")[2]}
        return {view: findings for view, findings in found.items() if findings}

    assert browser.use(page.with_session(look), viewport=size, color_scheme=scheme) == {}


def test_a_run_at_work_has_no_serious_finding_either(browser, axe, tmp_path):
    """With the forms that steer it, paused and not, at both widths."""
    with spawn(labels=list(LABELS), latency=0.3, faults={"500": 0.2}) as provider:
        chain = [
            openai(provider, name, concurrency=4, price={"input": 1.0, "output": 1.0})
            for name in ("small", "big")
        ]
        (tmp_path / "task.yaml").write_text(
            chain_text(*chain, data={"id": "id"}, budget={"usd": 9, "calls": 10_000})
        )
        rows_of(texts(400)).to_csv(tmp_path / "rows.csv", index=False)
        process = start("run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "run")
        try:
            while not (seen := read_progress(tmp_path / "run")) or len(seen.rates) < 6:
                time.sleep(0.05)

            def look(tab, seen):
                enter(tab, served)
                found = axe(tab)
                tab.get_by_role("button", name="Pause").click()
                tab.get_by_role("button", name="Resume").wait_for()
                found += axe(tab)
                tab.set_viewport_size(PHONE)
                tab.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
                return found + axe(tab)

            with serving(tmp_path / "run") as served:
                assert browser.use(look) == []
        finally:
            process.terminate()
            finish(process)


def test_without_script_everything_can_be_read(browser, page):
    """The table, its filters and an item."""

    def read(tab, seen):
        tab.goto(f"{page.origin}/items")
        tab.get_by_label("Label", exact=True).select_option("favor")
        tab.get_by_role("button", name="Show").click()
        tab.wait_for_url("**label=favor*")
        tab.locator("[data-item]").first.click()
        tab.get_by_text("Raw answer").first.wait_for()
        return True

    assert browser.use(page.with_session(read), java_script_enabled=False)
