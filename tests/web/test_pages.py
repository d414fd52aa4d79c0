"""What the pages show of a run, finished, at work, stopped or killed, and what they say where there is nothing."""

import json
import re
import signal
import time

import pytest

from catena.engine.steering import read_control, read_progress
from catena.ledger import RunLock
from catena.testing.provider import spawn
from catena.web.filters import Filters, filters_of, query_of
from catena.web.index import INDEX_FILE
from chains import LABELS, chain_text, finish, label_bytes, openai, rows_of, start, texts
from web_session import serving

PRICE = {"input": 1.0, "output": 1.0}


STARTED = []


@pytest.fixture(autouse=True)
def nothing_stays():
    """End whatever a test has begun, also where it failed."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()


def begin(folder, provider, rows=400, **task):
    """Start a run of two links in a process of its own, and wait until it works."""
    chain = [openai(provider, name, concurrency=4, price=PRICE) for name in ("small", "big")]
    (folder / "task.yaml").write_text(chain_text(*chain, data={"id": "id"}, **task))
    rows_of(texts(rows)).to_csv(folder / "rows.csv", index=False)
    process = start("run", folder / "task.yaml", folder / "rows.csv", "--out", folder / "run")
    STARTED.append(process)
    until(lambda: (seen := read_progress(folder / "run")) and seen.links[0].answered > 10)
    return process


def until(happens, seconds=60):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it never was so"
        time.sleep(0.05)


@pytest.fixture
def provider():
    """A provider in a process of its own."""
    with spawn(labels=list(LABELS), latency=0.05) as running:
        yield running


def test_the_table_shows_items_with_all_votes(page):
    """Id, text, label, whose label it is, and what each link has said."""
    text = page.ask("/items").text
    assert "120 items" in text
    assert "The 0th text about harbours" in text
    assert text.count("data-item") == 50
    assert "small" in text
    assert 'rel="next"' in text
    assert 'rel="prev"' not in text


def test_an_item_shows_text_votes_probabilities_raw_answer_and_cost(page):
    """Everything that was stored about it."""
    until(lambda: "being made" not in page.ask("/items/index").text)
    text = page.ask("/items/0").text
    for part in (
        "The 0th text about harbours and parks",
        "topic",
        "stance",
        "confidence",
        "against",
        "81.9%",
        "$0.0010",
        "40 in",
        "0.01 s",
    ):
        assert part in text, part
    failed = page.ask("/items/5").text
    assert "no_label" in failed
    assert "a failure was recorded" in failed


@pytest.mark.parametrize(
    "path",
    [
        "/items/0/next",
        "/items/0/previous",
        "/items/119/next",
        "/items/5/next?failure=any",
        "/items/7/previous?label=favor",
    ],
)
def test_one_goes_from_item_to_item(page, path):
    """Among those that the filters find; at the end one stays."""
    answer = page.ask(path)
    assert answer.status == 303
    to = answer.headers["location"]
    assert page.ask(to).status == 200
    assert to.partition("?")[2] == path.partition("?")[2]
    row = int(re.search(r"/items/(\d+)", to)[1])
    assert {"/items/0/next": row == 1, "/items/0/previous": row == 0, "/items/119/next": row == 119}.get(
        path, row not in {5, 7}
    )


def test_filters_travel_in_the_address():
    """Whatever is asked for is in it and comes out of it again; what makes no sense asks for nothing."""
    for filters in (
        Filters(),
        Filters(
            search="a&b=c",
            label="ü",
            link="x/y",
            status="failed",
            failure="any",
            disagree=True,
            gold="wrong",
            least=0.0,
            most=1.5,
            order="sure",
        ),
    ):
        query = dict(pair.split("=") for pair in query_of(filters)[1:].split("&") if pair)
        from urllib.parse import unquote_plus

        assert filters_of({name: unquote_plus(value) for name, value in query.items()}) == filters
    odd = {"least": "nan", "most": "1e999", "order": "x", "disagree": "yes", "other": "1"}
    assert filters_of(odd) == Filters()
    assert len(filters_of({"search": "x" * 5000}).search) == 300


@pytest.mark.parametrize("query", ["?least=%00", "?label=%ff", "?search=%f0%28%8c", "?after=-1", "?after=x", "?before=99999999999999999999999", "?order=", "?a=b&a=c",
                                   "?search=" + "%22" * 300, "?label=' OR 1=1 --", "?after=120", "?before=0"])  # fmt: skip
def test_odd_addresses_are_answered(page, query):
    """With a page."""
    assert page.ask(f"/items{query.replace(' ', '+')}").status == 200


def test_without_an_index_items_are_shown_all_the_same(finished, page):
    """In their order; what needs it says that it is being made."""
    for path in finished.glob(f"{INDEX_FILE}*"):
        path.unlink()
    answer = page.ask("/items?after=49")
    assert answer.status == 200
    assert "The 50th text" in answer.text
    until(lambda: "The 7th text" in page.ask("/items?search=7th+text").text)


def test_a_run_at_work_is_watched_and_steered(tmp_path, provider):
    """State, pause, resume, calls at a time and budget, by forms; the labels are those of a run that nobody steered."""
    process = begin(tmp_path, provider, rows=200, budget={"usd": 5})
    provider.control(latency=1.0)
    with serving(tmp_path / "run") as page:
        page.enter()
        assert "running" in page.ask("/live").text
        assert page.post("/steer", what="pause").status == 303
        until(lambda: "none begin" in page.ask("/live").text)
        before = read_progress(tmp_path / "run").links[0].answered
        assert page.post("/steer", what="concurrency", **{"most.0": "16", "most.1": "2"}).status == 303
        assert page.post("/steer", what="budget", usd="7.5", tokens="", calls="100000").status == 303
        until(
            lambda: (
                (seen := read_progress(tmp_path / "run")).number == 3 and seen.caps == [7.5, None, 100_000.0]
            )
        )
        seen = read_progress(tmp_path / "run")
        assert [link.most for link in seen.links] == [16, 2]
        assert seen.links[0].answered == before
        assert "$7.50" in page.ask("/live").text
        assert page.post("/steer", what="budget", own="1").status == 303
        provider.control(latency=0.0)
        assert page.post("/steer", what="resume").status == 303
        code, _, err = finish(process, 120)
        assert code == 0, err
        until(lambda: "finished" in page.ask("/live").text)
        assert page.post("/steer", what="pause").status == 409
        assert page.end()[0] == 0
    code, _, err = finish(
        start("run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "unbroken"), 120
    )
    assert code == 0, err
    assert label_bytes(tmp_path / "run") == label_bytes(tmp_path / "unbroken")


@pytest.mark.parametrize(("form", "says"), [
    ({"what": "concurrency", "most.0": "0"}, "from 1 to 512"), ({"what": "concurrency", "most.0": "513"}, "from 1 to 512"),
    ({"what": "concurrency", "most.0": "many"}, "a number"), ({"what": "concurrency", "most.0": "2.5"}, "whole number"),
    ({"what": "budget", "usd": "-1"}, "a number"), ({"what": "budget", "usd": "nan"}, "a number"), ({"what": "budget", "usd": "1e999"}, "a number"),
    ({"what": "budget", "calls": "1.5"}, "whole number"), ({"what": "budget", "tokens": "٣"}, "a number"), ({"what": "delete"}, "nothing that there is"), ({}, "nothing that there is"),
])  # fmt: skip
def test_what_can_not_be_set_is_refused(working, form, says):
    """In a line that says why; the run goes on as it was."""
    answer = working.post("/steer", **form)
    assert answer.status == 400
    assert says in answer.text
    assert "<h1>This can't be done</h1>" in answer.text
    assert read_control(working.folder) is None


@pytest.fixture(scope="module")
def working(tmp_path_factory):
    """Return a page on a run that works until the tests have ended."""
    folder = tmp_path_factory.mktemp("working")
    with spawn(labels=list(LABELS), latency=0.3) as provider:
        process = begin(folder, provider, rows=2000)
        STARTED.remove(process)  # it is for all these tests
        with serving(folder / "run") as page:
            page.enter()
            page.folder = folder / "run"
            yield page
        process.send_signal(signal.SIGINT)
        finish(process)


def test_a_killed_run_is_seen_as_stopped(tmp_path, provider):
    """Though it could say nothing: its lock is free. The page says how to go on."""
    process = begin(tmp_path, provider)
    with serving(tmp_path / "run") as page:
        page.enter()
        process.kill()
        process.communicate()
        text = page.ask("/").text
        assert "stopped without a word" in text
        assert "catena run TASK" in text
        assert str(tmp_path / "run") in text
        assert page.post("/steer", what="pause").status == 409


def test_a_stopped_run_says_why(tmp_path, provider):
    """And how to go on."""
    process = begin(tmp_path, provider, budget={"calls": 100})
    code, _, _ = finish(process)
    assert code == 3
    with serving(tmp_path / "run") as page:
        page.enter()
        text = page.ask("/").text
        assert "the budget is reached" in text
        assert "Go on with the same command" in text


def test_a_run_that_begins_is_waited_for(tmp_path):
    """The page may be there before the run has read its data."""
    lock = RunLock(tmp_path)
    try:
        with serving(tmp_path) as page:
            page.enter()
            assert "starting" in page.ask("/").text
            assert page.ask("/items").status in {500, 503}
    finally:
        lock.release()


def test_the_command_says_where_the_page_is_and_ends_on_ctrl_c(finished):
    """Exit code 0 on Ctrl+C and on SIGTERM; with --json exactly one document."""
    for how in (signal.SIGINT, signal.SIGTERM):
        with serving(finished) as page:
            page.enter()
            assert page.lines[0].startswith(f"{finished} is shown at http://127.0.0.1:")
            assert page.end(how) == (0, "")
    process = start("serve", finished, "--port", 0, "--json", "--no-token")
    try:
        said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert "is shown at" in said
    assert (process.returncode, json.loads(out)["url"]) == (0, said.split()[-1])


@pytest.mark.parametrize(("arguments", "says"), [
    (["nothing"], "holds no run"), (["RUN", "--port", "PORT"], "Choose another --host or --port"), (["RUN", "--host", "no.such.host.invalid"], "Choose another --host"),
    (["RUN", "--port", "70000"], "0<=x<=65535"), (["RUN", "--host", "0.0.0.0", "--no-token"], "needs its token"),
])  # fmt: skip
def test_what_can_not_be_served_is_refused(finished, page, arguments, says):
    """With exit code 2 and one line."""
    line = [{"RUN": str(finished), "PORT": str(page.port)}.get(word, word) for word in arguments]
    code, out, err = finish(start("serve", *line))
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err


def test_the_usual_port_may_be_taken(finished):
    """Then it is another one, unless it was asked for."""
    first, second = start("serve", finished), start("serve", finished)
    try:
        ports = {
            process.stdout.readline().split("127.0.0.1:")[1].split("/")[0] for process in (first, second)
        }
        assert len(ports) == 2
    finally:
        for process in (first, second):
            process.send_signal(signal.SIGINT)
            assert finish(process)[0] == 0
