"""The page beside a run: it disturbs nothing, its reading lets the log be emptied, it shows no key."""

import itertools
import os
import time

from live import live
from soak import figure, many

from catena.engine.steering import read_progress
from catena.ledger import FILE
from catena.ledger.file import WAL_BYTES
from chains import finish, label_bytes
from web_session import entered

ROWS = many(600, 20_000)
VIEWS = (
    "/",
    "/live",
    "/items",
    "/items?disagree=1",
    "/items?order=unsure",
    "/items?search=number+7",
    "/items/5",
    "/items/index",
)
KEY = "sk-canary-of-the-page-4711"


def test_the_page_disturbs_no_run(tmp_path):
    """Asked for all the time while a run works: no error, counts that never fall, a log that stays small, the same labels."""
    with live(tmp_path, rows=ROWS, latency=many(20, 2) / 1000) as work:
        process = work.start(tmp_path / "r")
        while process.poll() is None and read_progress(tmp_path / "r") is None:
            time.sleep(0.01)
        answered, largest, asked = [], 0, 0
        with entered(tmp_path / "r") as served:
            for view in itertools.cycle(VIEWS):
                if process.poll() is not None:
                    break
                assert served.ask(view).status == 200
                asked += 1
                seen = read_progress(tmp_path / "r")
                answered.append([link.answered for link in seen.links])
                log = tmp_path / "r" / f"{FILE}-wal"
                largest = max(largest, log.stat().st_size if log.exists() else 0)
            code, _, err = finish(process)
            assert code == 0, err
            assert served.end() == (0, "")
        code, _, err = finish(work.start(tmp_path / "alone"), 300)
        assert code == 0, err
    assert asked > len(VIEWS)
    assert all(
        before <= after for pair in itertools.pairwise(answered) for before, after in zip(*pair, strict=True)
    )
    assert largest <= WAL_BYTES
    assert label_bytes(tmp_path / "r") == label_bytes(tmp_path / "alone")
    figure(
        "the page beside a run",
        f"{asked} views while a run of {ROWS:,} rows worked: 0 errors, the log at most {largest / 1e6:.1f} MB",
    )


def test_the_page_shows_no_key(tmp_path):
    """The key of a link is in no view, no file of the page and no line of its process."""
    task = {"budget": {"calls": 50}}
    with live(tmp_path, rows=60, latency=0.0, task=task, api_key=KEY) as work:
        os.environ["OPENAI_API_KEY"] = KEY
        try:
            text = (
                (tmp_path / "task.yaml")
                .read_text()
                .replace("price: free", "price: free\n  api_key_env: OPENAI_API_KEY")
            )
            (tmp_path / "task.yaml").write_text(text)
            code, _, err = finish(work.start(tmp_path / "r"))
            assert code == 3, err
            with entered(tmp_path / "r") as served:
                shown = "".join(served.ask(view).text for view in VIEWS)
                _, err = served.end()
        finally:
            del os.environ["OPENAI_API_KEY"]
    assert "the budget is reached" in shown
    assert KEY not in shown + err + "".join(served.lines)
    for path in (tmp_path / "r").iterdir():
        assert KEY.encode() not in path.read_bytes(), path
