"""The review queue in a real browser: labels by keyboard change a run's result, for one person and for two."""

import json
import time

import pytest
import yaml

from browser import PHONE, WIDE
from catena.engine.results import LABELS_FILE
from catena.ledger.desk import Desk
from chains import finish, labels_of, start
from payloads import PAYLOADS
from people import at_desk, data_of, people, recorded, text_of
from web_session import serving

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def begin(request):
    """Return what starts a run of n items, half of which wait for people; it is gone at the end of the test."""

    def start_run(*given, **named):
        run = _begin(*given, **named)
        request.addfinalizer(lambda: end(run))
        return run

    def end(run):
        run.kill()
        if not run.stdout.closed:
            run.communicate()

    return start_run


def _begin(folder, n, text, rows=None):
    """Start it."""
    (folder / "task.yaml").write_text(text, "utf-8")
    (data_of(n) if rows is None else rows).to_csv(folder / "rows.csv", index=False)
    run = start("run", folder / "task.yaml", folder / "rows.csv", "--out", folder / "r")
    with at_desk(folder / "r") as (_, desk, queue):
        while desk.counts(queue.number).waiting < n // 2 and run.poll() is None:
            time.sleep(0.02)
    return run


def sit(page, served, name):
    """Open the page and say who one is."""
    page.goto(served.url)
    page.wait_for_url("**/")
    page.goto(f"{served.origin}/review")
    page.fill("input[name=name]", name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#say")


def shown(page):
    """Return the id of the item that is shown."""
    return page.get_attribute("article.item", "data-item")


def press(page, key):
    """Press a key that brings another item, and wait for it."""
    before = shown(page)
    page.keyboard.press(key)
    page.wait_for_function(
        "was => (document.querySelector('article.item')?.dataset.item ?? '') !== was", arg=before
    )


def test_twenty_labels_by_keyboard_change_the_result(tmp_path, begin, browser):
    """A run waits; somebody labels 20 items without a mouse, with a note, a skip and an undo; the run ends with their labels."""
    run = begin(tmp_path, 40, text_of(recorded(tmp_path / "votes", 40)))
    assert not (tmp_path / "r" / LABELS_FILE).exists()

    def work(page, seen):
        sit(page, served, "Ada")
        given, skipped = {}, shown(page)
        press(page, "s")
        page.keyboard.press("n")
        page.keyboard.type("123 s u are only text here")
        page.keyboard.press("Escape")
        first = shown(page)
        press(page, "1")
        press(page, "u")
        assert shown(page) == first
        while len(given) < 19:
            name, key = shown(page), "2" if len(given) % 2 else "3"
            press(page, key)
            given[name] = "against" if key == "2" else "none"
        assert shown(page) == skipped
        press(page, "2")
        page.wait_for_selector("text=The run is finished", timeout=30_000)
        assert "20 items have a vote of people" in page.inner_text("#review")
        for _ in range(100):  # the index takes in the final labels about a second after the run has ended
            page.goto(f"{served.origin}/items")
            if page.query_selector("option:has-text('people (20)')"):
                break
            page.wait_for_timeout(200)
        assert page.query_selector("option:has-text('people (20)')")
        assert "against (10)" in page.text_content("main")
        assert not seen.errors
        return given | {skipped: "against"}

    with serving(tmp_path / "r") as served:
        given = browser.use(work)
    code, _, err = finish(run)
    assert code == 0, err
    found = {row["id"]: row["label"] for row in labels_of(tmp_path / "r") if row["link"] == "people"}
    assert len(found) == 20
    assert found == given
    with Desk(tmp_path / "r") as desk:
        notes = [mark.note for _, _, mark in desk.all_marks(1) if mark.note]
    assert notes == ["123 s u are only text here"]


def test_two_people_never_get_the_same_item(tmp_path, begin, browser):
    """In two browsers at once, but for items that two shall label: those both get, and how far they agree is shown."""
    run = begin(tmp_path, 24, text_of(recorded(tmp_path / "votes", 24), overlap=0.5))
    with Desk(tmp_path / "r") as desk, desk.reading() as db:
        needs = dict(db.execute("SELECT id, needs FROM items"))

    def all_of(page, label):
        mine = []
        while page.query_selector("#say"):
            mine.append(shown(page))
            press(page, label)
        return mine

    def work(page, _):
        sit(page, served, "Ada")
        first = shown(page)
        other = page.context.browser.new_context(viewport=WIDE)
        try:
            second = other.new_page()
            served.url = served.process.stdout.readline().split()[-1]
            sit(second, served, "Bo")
            assert shown(second) != first or needs[first] == 2
            mine = all_of(page, "1")
            theirs = all_of(second, "1")
            page.reload()
            while page.query_selector("[data-press=Enter]"):
                page.keyboard.press("Enter")
                page.wait_for_timeout(300)
                mine += all_of(page, "1")
        finally:
            other.close()
        page.goto(f"{served.origin}/review")
        return mine, theirs, page.inner_text("#review")

    with serving(tmp_path / "r") as served:
        mine, theirs, text = browser.use(work)
    code, _, err = finish(run)
    assert code == 0, err
    several = {name for name, needed in needs.items() if needed == 2}
    assert 0 < len(several) < 12
    assert set(mine) & set(theirs) == several
    assert len(mine) + len(theirs) == 12 + len(several)
    assert f"On {len(several)} items" in text


def test_many_labels_are_found_by_typing(tmp_path, begin, browser):
    """More than nine: the first ones by number, all of them by their beginning."""
    labels = [
        f"topic {word}"
        for word in [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
        ]
    ]
    votes = recorded(tmp_path / "votes", 4, label=labels[0])
    (tmp_path / "votes" / "labels.json").write_text(json.dumps(labels), "utf-8")
    run = begin(tmp_path, 4, text_of(votes, {"labels": labels}))

    def work(page, _):
        sit(page, served, "Ada")
        first = shown(page)
        page.keyboard.press("/")
        page.keyboard.type("KAP")
        assert page.locator(".choice:visible").count() == 1
        press(page, "Enter")
        second = shown(page)
        page.keyboard.press("9")
        page.wait_for_selector("text=Nothing waits")
        return {first: "topic kappa", second: "topic iota"}

    with serving(tmp_path / "r") as served:
        given = browser.use(work)
    assert finish(run)[0] == 0
    assert {row["id"]: row["label"] for row in labels_of(tmp_path / "r") if row["link"] == "people"} == given


def test_blind_people_see_no_votes(tmp_path, begin, browser):
    """Neither beside the item nor on the labels; the items page is another matter."""
    begin(tmp_path, 4, text_of(recorded(tmp_path / "votes", 4), blind=True))

    def work(page, _):
        sit(page, served, "Ada")
        return page.inner_text("#review")

    with serving(tmp_path / "r") as served:
        assert "small" not in browser.use(work)


def test_hostile_texts_run_nowhere(tmp_path, begin, browser):
    """200 payloads as texts, ids, columns, labels, guidelines, notes and names: none runs, on any view of the queue."""
    n = 40
    labels = [" ".join(payload.split()) for payload in PAYLOADS[::7]]
    votes = recorded(tmp_path / "votes", n, label=labels[0])
    (tmp_path / "votes" / "labels.json").write_text(json.dumps(labels), "utf-8")
    rows = data_of(n)
    rows["text"] = ["\n".join(PAYLOADS[at::n]) for at in range(n)]
    rows["topic"] = [PAYLOADS[at] for at in range(n)]
    text = yaml.safe_load(text_of(votes, {"labels": labels}))
    text["chain"][1] = people(guidelines="\n\n".join(PAYLOADS))
    text["instruction"] = "What about {{ topic }}?"
    run = begin(tmp_path, n, yaml.safe_dump(text), rows)
    names = [payload[:64] for payload in PAYLOADS[::25]]

    def work(page, seen):
        sit(page, served, names[0])
        for name in names[1:]:
            page.fill("#note", PAYLOADS[names.index(name)])
            page.keyboard.press("Escape")
            press(page, "1")
            press(page, "u")
            press(page, "2")
            page.evaluate(
                "async name => { const token = document.querySelector('[name=token]').value;"
                "await fetch('/review/sit', {method: 'POST', body: new URLSearchParams({token, name})}) }",
                name,
            )
            page.goto(f"{served.origin}/review")
            page.wait_for_selector("#say")
        for _ in range(6):
            page.mouse.move(300, 300)
            press(page, "3")
        with Desk(tmp_path / "r") as desk:
            desk.finish("people")
        page.wait_for_timeout(1500)
        page.goto(f"{served.origin}/review")
        page.wait_for_timeout(300)
        hit = page.evaluate("window.hit")
        return hit, seen.dialogs, [url for url in seen.requests if not url.startswith(served.origin)]

    with serving(tmp_path / "r") as served:
        hit, dialogs, elsewhere = browser.use(work)
    assert (hit, dialogs, elsewhere) == (None, [], [])
    assert finish(run)[0] == 0


def test_it_can_be_used_by_all(tmp_path, begin, browser, axe):
    """No serious finding of the rules of accessibility, wide and on a phone, light and dark; nothing is wider than a phone."""
    text = text_of(
        recorded(tmp_path / "votes", 8), guidelines="# How\n\nRead **all**.\n\n- favor: for it", overlap=1.0
    )
    rows = data_of(8, topic=["a" * 80] * 8)
    begin(tmp_path, 8, text, rows)

    def work(page, _):
        found = []

        def look():
            for size in (WIDE, PHONE):
                for scheme in ("light", "dark"):
                    page.set_viewport_size(size)
                    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                    found.extend(axe(page))
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.set_viewport_size(WIDE)

        page.goto(served.url)
        page.wait_for_url("**/")
        page.goto(f"{served.origin}/review")
        look()
        page.fill("input[name=name]", "Ada")
        page.keyboard.press("Enter")
        page.wait_for_selector("#say")
        page.keyboard.press("?")
        look()
        while page.query_selector("#say"):
            press(page, "1")
        look()
        return found

    with serving(tmp_path / "r") as served:
        assert browser.use(work) == []
