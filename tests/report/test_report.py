"""The report as a file: what is in it, who can read it, and what a browser makes of it."""

import re
import stat

import pytest
from reported import LABELS, LINKS, facts_of, make_run, votes_of

from browser import PHONE, WIDE
from catena.cli import main
from catena.report import draw
from catena.report.charts import charts
from catena.testing.provider import FakeProvider, Reply
from chains import forget, openai
from payloads import PAYLOADS

A4 = 688  # CSS pixels between margins of 14 mm
HARMLESS = ("finished", "unfinished", "no-gold")


def report(out, *options):
    """Write a report by the command, and return its text."""
    assert main(["report", str(out), *map(str, options)]) == 0
    return (out / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs: finished, unfinished, without gold."""
    made = {name: tmp_path_factory.mktemp(name) for name in HARMLESS}
    rows, gold = votes_of()
    found = {
        name: make_run(folder, rows, None if name == "no-gold" else gold) for name, folder in made.items()
    }
    forget(found["unfinished"], "big", range(0, 150, 2))
    return found


@pytest.fixture(scope="module")
def pages(runs):
    """Their reports, as files."""
    for out in runs.values():
        report(out)
    return {name: out / "report.html" for name, out in runs.items()}


def test_a_finished_run_shows_everything(pages):
    """Every part that was promised is there, as a picture or as a table."""
    page = pages["finished"].read_text("utf-8")
    pictures = re.findall(r'<svg[^>]*aria-label="([^"]+)"', page)
    assert [name.split()[0] for name in pictures] == [
        "The", "Accuracy", "How", "How", "How", "Errors", "Share", "Confusion", "Agreement", "Failures", "How",
    ]  # fmt: skip
    for words in ("What each link did", "Against gold", "What each link changes", "Per class", "The commonest differences",
                  "Items that links disagree about", "Rows that a link has no label for", "To do it again", "The whole task",
                  "fingerprint", "the paper's rule"):  # fmt: skip
        assert words.replace("'", "&#39;") in page or words in page, words


def test_an_unfinished_run_says_so(pages):
    """What there is so far, why it stopped, and how it goes on."""
    page = pages["unfinished"].read_text("utf-8")
    assert "This run is not finished" in page
    assert "the budget is reached" in page
    assert "stand here" in page


def test_without_gold_it_says_what_gold_would_add(pages):
    """Agreement, confidence and class shares are there; accuracy is not."""
    page = pages["no-gold"].read_text("utf-8")
    assert "There is no gold here" in page
    assert "How many rows have each label" in page
    assert 'aria-label="Agreement between links"' in page
    assert "Against gold" not in page


def test_before_the_first_vote_it_says_where_the_run_stands(tmp_path):
    """Why it stopped, the chain and what was asked are there; no part pretends to show something."""
    rows, gold = votes_of(30)
    out = make_run(tmp_path, rows, gold)
    for name in LINKS:
        forget(out, name, range(30))
    page = report(out)
    assert "No link has said anything about a row yet" in page
    assert "the budget is reached" in page
    assert re.findall(r'<h2 id="(\w+)"', page) == ["chain", "again"]
    assert re.findall(r'<li><a href="#(\w+)"', page) == ["chain", "again"]


def test_nothing_in_it_is_fetched_or_run(pages):
    """No script, no address of anything, and a policy that would forbid both."""
    for path in pages.values():
        page = path.read_text("utf-8")
        assert "<script" not in page
        assert not re.search(r"\b(src|href|srcset|action)=[\"'](?!#)", page)
        assert not re.search(r"\bon\w+=", re.sub(r">[^<]*<", "><", page))
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert " style=" not in page


def test_only_its_owner_reads_it_and_its_figures(runs, tmp_path):
    """0600 for files, 0700 for the folder; each figure as SVG and PNG, the chain among them."""
    report(runs["finished"], "--figures", tmp_path / "figures")
    assert stat.S_IMODE((runs["finished"] / "report.html").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "figures").stat().st_mode) == 0o700
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"flow.svg", "flow.png", "cost-quality.svg", "confusion.png", "spend.svg"} <= names
    for path in (tmp_path / "figures").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_bytes()[:4] in {b"<svg", b"\x89PNG"}


def test_the_same_run_has_the_same_report(runs, pages):
    """Byte for byte: it can be compared, and kept beside the paper. Its labels and its ledger are what they were."""
    out = runs["finished"]
    files = [out / name for name in ("report.html", "labels.parquet", "ledger.sqlite")]
    before = [path.read_bytes() for path in files]
    report(out)
    assert [path.read_bytes() for path in files] == before


def test_a_report_that_fails_leaves_the_earlier_one(runs, pages, monkeypatch):
    """It is whole or not there."""
    before = pages["finished"].read_text("utf-8")

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    assert main(["report", str(runs["finished"])]) == 3
    assert (runs["finished"] / "report.html").read_text("utf-8") == before
    assert not list(runs["finished"].glob(".catena-*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "{run}/labels.parquet"], "is a .html file"),
        (["--out", "{run}/other.html"], "inside the run's folder"),
        (["--out", "{run}/../nowhere/x.html"], "is no folder"),
        (["--figures", "{run}/figures"], "inside the run's folder"),
        (["--figures", "{run}/../votes/votes.parquet"], "is no folder"),
    ],
)
def test_it_writes_over_nothing_else(runs, capsys, options, said):
    """Neither over the run, nor into a folder that is not there."""
    out = runs["finished"]
    assert main(["report", str(out), *[each.format(run=out) for each in options]]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_extra_is_one_line(runs, capsys, monkeypatch):
    """It names what to install."""
    monkeypatch.setattr(draw, "find_spec", lambda _: None)
    assert main(["report", str(runs["finished"])]) == 2
    assert capsys.readouterr().err == (
        "catena: The report needs packages that are not installed. Install them: pip install 'catena[report]'\n"
    )


def test_no_run_is_one_line(tmp_path, capsys):
    """A folder without a run."""
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_what_may_be_a_key_is_hidden(tmp_path, monkeypatch):
    """A key that a text of the data repeats, credentials in an address, a field that is called one."""
    monkeypatch.setenv("MY_KEY", "sk-canary-0123456789")
    rows, gold = votes_of(40, links=("small", "middle"))
    with FakeProvider(labels=LABELS, faults={}) as provider:
        link = openai(
            provider, "big", api_key_env="MY_KEY", body={"user": "me", "x_api_key": "another-canary"}
        )
        texts = [f"text {at} sk-canary-0123456789 <b>" for at in range(40)]
        out = make_run(
            tmp_path, rows, gold, links=("small", "middle", link), texts=texts, policy={"share": [0, 0, 1]}
        )
    page = report(out, "--items", 40, "--figures", tmp_path / "figures")
    assert "canary" not in page
    assert "[hidden]" in page
    for path in (tmp_path / "figures").glob("*.svg"):
        assert "canary" not in path.read_text("utf-8")


def test_more_labels_than_a_matrix_can_show(tmp_path):
    """They are in the table; the picture of shares has the most frequent ones."""
    names = [f"class {at} with a rather long name of its own" for at in range(60)]
    out = make_run(tmp_path, *votes_of(180, labels=names), labels=names)
    page = report(out)
    assert 'aria-label="Confusion of gold' not in page
    assert "The 40 most frequent labels" in page
    assert all(name in page for name in names)


@pytest.mark.parametrize(("links", "words"), [(("small",), True), (LINKS, False)])
def test_one_link_alone_and_links_without_probabilities(tmp_path, links, words):
    """No agreement to show for one; no reliability without probabilities, and it says so."""
    out = make_run(tmp_path, *votes_of(60, links=links, words=words), links=links)
    page = report(out)
    assert ('aria-label="Agreement between links"' in page) == (len(links) > 1)
    assert ("It gives no probabilities of labels" in page) != words


def test_one_confidence_of_all_is_a_thin_bar(tmp_path):
    """A link that is always equally sure is no block that fills its picture, and large amounts are written out."""
    rows, gold = votes_of(30)
    folder = make_run(tmp_path, [row | {"confidence": 1.0, "cost_usd": 100.0} for row in rows], gold)
    made = {chart.name: chart.spec for chart in charts(facts_of(folder))}
    (bars,) = (
        part
        for part in made["confidence-1"]["vconcat"]
        if "layer" in part and "y2" in part["layer"][0]["encoding"]
    )
    assert bars["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0.5, 1.5]
    assert ">$6,000<" in draw.svg(made["spend"])


def test_a_link_without_any_confidence_or_label(tmp_path):
    """All its votes failed: it has a place in the picture, and nothing divides by zero."""
    rows, gold = votes_of(40)
    rows = [
        row | ({"label": None, "error": "refused: no"} if row["link"] == "middle" else {"confidence": None})
        for row in rows
    ]
    page = report(make_run(tmp_path, rows, gold))
    assert "refused" in page


# -- in a browser -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scheme", "size"),
    [
        ("finished", "light", WIDE),
        ("finished", "dark", WIDE),
        ("finished", "light", PHONE),
        ("unfinished", "dark", PHONE),
        ("no-gold", "light", WIDE),
    ],
)
def test_it_can_be_read_by_everyone(pages, browser, axe, name, scheme, size):
    """No serious finding of axe-core, and nothing that is wider than the screen, in light and dark."""

    def look(page, seen):
        page.goto(pages[name].as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        width = page.evaluate("document.documentElement.scrollWidth")
        return axe(page), width, seen.console, seen.requests

    findings, width, console, requests = browser.use(look, color_scheme=scheme, viewport=size)
    assert findings == []
    assert width <= size["width"]
    assert console == []
    assert requests == [pages[name].as_uri()]


def test_pictures_take_the_colours_of_the_dark(pages, browser):
    """The ground of a picture is dark in the dark, and white on paper."""

    def ground(page, _):
        page.goto(pages["finished"].as_uri())
        script = "getComputedStyle(document.querySelector('figure svg rect')).fill"
        dark = page.evaluate(script)
        page.emulate_media(media="print")
        return dark, page.evaluate(script)

    assert browser.use(ground, color_scheme="dark") == ("rgb(28, 30, 33)", "rgb(255, 255, 255)")


def test_on_paper_folded_parts_are_open(pages, browser):
    """What a click would show is printed, what a click is for is not, and nothing is wider than a sheet of A4 within its margins."""

    def printed(page, _):
        page.goto(pages["finished"].as_uri())
        page.emulate_media(media="print")
        tall = page.evaluate("document.querySelector('details pre').getBoundingClientRect().height")
        wide = page.evaluate("document.documentElement.scrollWidth")
        return tall, wide, page.evaluate("getComputedStyle(document.querySelector('nav')).display")

    tall, wide, menu = browser.use(printed, viewport={"width": A4, "height": 900})
    assert tall > 0
    assert wide <= A4
    assert menu == "none"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A report in which 200 payloads are texts, and others labels, ids, names of columns, files, folders, models, and answers."""
    folder = tmp_path_factory.mktemp("x") / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    labels = [*PAYLOADS[:200:40], PAYLOADS[25], PAYLOADS[41]]
    rows, _ = votes_of(200, links=("one<script>alert(1)<", 'two"onmouseover="alert(1)'), labels=labels)
    one = [row for row in rows if row["link"].startswith("one")]
    two = [row for row in rows if not row["link"].startswith("one")]
    for at, (a, b) in enumerate(zip(one, two, strict=True)):  # no two links agree, so that every row is shown
        a["label"], b["label"] = labels[at % len(labels)], labels[(at + 1) % len(labels)]
    names = ("one<script>alert(1)<", 'two"onmouseover="alert(1)')
    chain = [{"name": name, "kind": "replay", "votes": str(folder / "votes")} for name in names]
    gold = [labels[(at + at // 7) % len(labels)] for at in range(200)]
    said = iter(range(10**6))
    with FakeProvider(lambda _: Reply(PAYLOADS[next(said) % 200] + "!")) as provider:
        third = openai(
            provider,
            "three'><svg\x0bonload=alert(1)>".replace("\x0b", "."),
            prompt="{{ text }} " + PAYLOADS[2].replace("{", ""),
        )
        third["model"] = PAYLOADS[60]
        out = make_run(
            folder, one + two, gold, links=(*chain, third), labels=labels, texts=list(PAYLOADS), policy={"share": [0, 0, 1]},
            source=folder / '"><img src=x onerror=alert(1)>.csv', out="run<svg onload=alert(1)>",
            instruction="<script>alert(1)</script>", seed=1,
        )  # fmt: skip
    assert main(["report", str(out), "--items", "200", "--figures", str(folder / "figures")]) == 0
    return out / "report.html", folder / "figures"


def test_200_payloads_execute_0_times(hostile, browser):
    """In texts, labels, names of links, models, files and folders, and raw answers: no dialog, nothing that the policy had to stop."""
    page_file, _ = hostile
    text = page_file.read_text("utf-8")
    assert text.count('class="card conflict"') == 200

    def open_it(page, seen):
        page.goto(page_file.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        for step in range(0, page.evaluate("document.documentElement.scrollHeight"), 5000):
            page.mouse.move(300, 300)
            page.evaluate(f"scrollTo(0, {step})")
        page.keyboard.press("Tab")
        shown = page.inner_text("main")
        odd = page.evaluate(
            "document.querySelectorAll('script, img, iframe, object, embed, form, input, base, link, a[href]:not([href^=\"#\"])').length"
        )
        return seen, page.evaluate("window.hit"), shown, odd

    seen, hit, shown, odd = browser.use(open_it)
    assert (seen.dialogs, seen.console, seen.errors, hit, odd) == ([], [], [], None, 0)
    assert seen.requests == [page_file.as_uri()]
    assert PAYLOADS[0] in shown


def test_200_payloads_execute_0_times_in_a_figure(hostile, browser):
    """Each SVG opened for itself, where scripts of a picture would run."""
    _, figures = hostile
    assert len(list(figures.glob("*.svg"))) >= 8

    def open_all(page, seen):
        for path in figures.glob("*.svg"):
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.nodeName") == "svg", path
            assert page.evaluate("document.querySelectorAll('script, foreignObject, image, a').length") == 0
        return seen

    seen = browser.use(open_all)
    assert (seen.dialogs, seen.console, seen.errors) == ([], [], [])
    assert all(url.startswith(figures.as_uri()) for url in seen.requests)


def test_the_model_gets_the_row_and_the_report_shows_it_as_text(hostile):
    """What was asked about the first row is shown escaped."""
    page = hostile[0].read_text("utf-8")
    assert "was asked about the first row" in page
    assert "&lt;script&gt;window.hit=1;alert(1)&lt;/script&gt;" in page
