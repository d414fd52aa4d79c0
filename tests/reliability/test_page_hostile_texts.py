"""200 texts that would run a script stand in texts, labels, columns and the names of files and folders: none runs on the page."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from soak import figure, many

from catena.engine.run import Run
from catena.task import parse_task
from catena.testing.provider import FakeProvider, Reply
from payloads import PAYLOADS
from web_session import entered

WAIT = many(100, 400)
"""Milliseconds that a script has to show itself on each view."""
NAMES = ("\"'><b>&lt;{{7*7}}", "<svg&Tab;onload=window.hit=1>'")
"""What a link may be called: no spaces, commas or slashes."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Return a finished run whose texts, ids, columns, labels, answers, links, file and folder are payloads."""
    import yaml

    folder = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=window.hit=1>"
    folder.mkdir()
    labels = [PAYLOADS[at] for at in (0, 21, 43, 60)]
    rows = pa.table({
        PAYLOADS[1]: [f"{text} {at}" for at, text in enumerate(PAYLOADS)],
        PAYLOADS[22]: [f"{at} {text}" for at, text in enumerate(PAYLOADS)],
        PAYLOADS[45]: [*PAYLOADS],
        "gold": [labels[at % 4] for at in range(len(PAYLOADS))],
    })  # fmt: skip
    pq.write_table(rows, folder / "<svg onload=window.hit=1>.parquet")
    asked = []

    def answer(request):
        asked.append(request)
        at = len(asked)
        return Reply(PAYLOADS[at % 200] if at % 5 == 0 else labels[at % 4])

    with FakeProvider(answer, labels=labels) as provider:
        chain = [
            {"name": name, "kind": "openai", "model": PAYLOADS[7], "base_url": provider.base_url, "price": "free", "concurrency": 4}
            for name in NAMES
        ]  # fmt: skip
        task = {
            "name": NAMES[0], "instruction": f"{{% raw %}}{PAYLOADS[23]}{{% endraw %}}", "labels": dict.fromkeys(labels, PAYLOADS[9]),
            "data": {"text": PAYLOADS[1], "id": PAYLOADS[22], "gold": "gold"}, "chain": chain, "policy": {"share": [0.0, 1.0]},
        }  # fmt: skip
        out = folder / "</title><script>window.hit=1</script>"
        Run(parse_task(yaml.safe_dump(task)), folder / "<svg onload=window.hit=1>.parquet", out).execute()
    return Path(out)


def test_no_payload_runs_on_the_page(browser, hostile):
    """Every view, every item, every filter, and each payload as the search: no dialog, no mark, no request to elsewhere."""
    views = [
        "/",
        "/live",
        "/items",
        "/items?after=49",
        "/items?after=99",
        "/items?after=149",
        "/items?disagree=1",
        "/items?failure=any",
    ]
    views += [f"/items/{row}" for row in range(0, len(PAYLOADS), many(6, 1))]

    def look(tab, seen):
        hits, shown = 0, 0
        tab.set_default_timeout(20_000)
        for view in views:
            tab.goto(f"{served.origin}{view}")
            tab.wait_for_timeout(WAIT if shown < many(8, 40) else 5)
            hits += bool(tab.evaluate("window.hit ?? 0"))
            assert tab.url == f"{served.origin}{view}"
            shown += 1
        tab.goto(f"{served.origin}/items")
        for name in ("#label", "#link"):
            for value in tab.locator(f"{name} option").evaluate_all("all => all.map(each => each.value)"):
                tab.goto(f"{served.origin}/items")
                tab.select_option(name, value)
                tab.get_by_role("button", name="Show").click()
                tab.wait_for_load_state()
                hits += bool(tab.evaluate("window.hit ?? 0"))
                shown += 1
        for payload in PAYLOADS[:: many(20, 1)]:
            tab.goto(f"{served.origin}/items")
            tab.fill("#search", payload[:300])
            tab.get_by_role("button", name="Show").click()
            tab.wait_for_load_state()
            hits += bool(tab.evaluate("window.hit ?? 0"))
            assert tab.locator("[data-item]").count() > 0
            shown += 1
        return hits, shown, seen

    with entered(hostile) as served:
        end = time.monotonic() + 60
        while "being made" in served.ask("/items/index").text and time.monotonic() < end:
            time.sleep(0.1)
        hits, shown, seen = browser.use(served.with_session(look))
        assert served.end()[0] == 0
    assert (hits, seen.dialogs, seen.errors) == (0, [], [])
    assert {request.split("/")[2] for request in seen.requests} == {served.origin.split("/")[2]}
    figure(
        "text is data, on the page",
        f"{len(PAYLOADS)} payloads in texts, ids, labels, columns, answers and names: {shown} views, 0 executions",
    )


def test_every_payload_is_shown_as_it_is(hostile):
    """Escaping loses nothing: a text on its page reads as it was written."""
    import html
    import re

    with entered(hostile) as served:
        for row, payload in enumerate(PAYLOADS):
            text = served.ask(f"/items/{row}").text
            (shown,) = re.findall(r'<div class="text body"[^>]*>(.*?)</div>', text, re.DOTALL)
            assert html.unescape(shown) == f"{payload} {row}"
        assert served.end()[0] == 0
