"""What the index finds is what one finds by looking at every item."""

import contextlib

import pytest

from catena.engine.run import task_of
from catena.ledger import Ledger
from catena.types import Vote
from catena.web import finder, indexer
from catena.web.filters import Filters
from catena.web.finder import find, options
from catena.web.index import open_index, trigrams
from catena.web.indexer import Indexer
from chains import labels_of

ORDERS = ("row", "unsure", "sure")


@pytest.fixture(scope="module")
def indexed(finished, tmp_path_factory):
    """Return ledger and index of the finished run, with shards and blocks so small that there are many."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (finder, indexer):
            patch.setattr(module, "SHARD", 32)
        patch.setattr(indexer, "BLOCK", 16)
        patch.setattr(finder, "BLOCK", 4)
        made = Indexer(finished)
        made.once()
        with Ledger(finished) as ledger, contextlib.closing(open_index(finished)) as index:
            yield ledger, index


def items_of(ledger):
    """Return everything that can be asked for about each item, found without the index."""
    numbers, task = ledger.links(), task_of(ledger)
    items = [item for block in ledger.all_items() for item in block]
    rows = [item.row for item in items]
    said = [ledger.said(numbers[spec.name][0], rows) for spec in task.chain]
    found = []
    for item, final in zip(items, labels_of(ledger.folder), strict=True):
        answers = [by_row[item.row] for by_row in said if item.row in by_row]
        votes = {answer.label for answer in answers if isinstance(answer, Vote)}
        reasons = [answer.reason for answer in answers if not isinstance(answer, Vote)]
        right = "" if final["label"] is None else "right" if final["label"] == item.gold else "wrong"
        found.append((item, final, len(votes) > 1, reasons[-1] if reasons else "", right))
    return found


def wanted(ledger, filters):
    """Return the rows that filters ask for, in their order, by looking at each."""
    rows = []
    for item, final, disagree, reason, right in items_of(ledger):
        sure = final["confidence"]
        within = filters.least is None and filters.most is None
        within = within or (
            sure is not None
            and (filters.least is None or sure >= filters.least)
            and (filters.most is None or sure <= filters.most)
        )
        if (
            filters.search.casefold() in f"{item.id}\n{item.text}".casefold()
            and filters.label in {"", final["label"]}
            and filters.link in {"", final["link"]}
            and filters.status in {"", final["status"]}
            and (not filters.failure or reason == filters.failure or (filters.failure == "any" and reason))
            and (disagree or not filters.disagree)
            and filters.gold in {"", right}
            and within
        ):
            rows.append((sure if sure is not None else float("-inf"), item.row))
    if filters.order == "row":
        return [row for _, row in rows]
    return [row for _, row in sorted(rows, reverse=filters.order == "sure")]


def forwards(ledger, index, filters, size):
    """Return what the pages hold from the first one on, and what they say of how many there are."""
    rows, found = [], find(index, ledger, filters, size)
    assert not found.before
    totals = {found.total}
    while True:
        page = [row for row, _ in found.rows]
        assert len(page) <= size
        rows += page
        if not found.after:
            return rows, totals
        found = find(
            index, ledger, filters, size, after=found.looked_to if found.looked_to is not None else page[-1]
        )
        totals.add(found.total)


def backwards(ledger, index, filters, size):
    """Return what the pages hold from the last one on, in the order that is asked for."""
    rows, before = [], 1 << 60
    while True:
        found = find(index, ledger, filters, size, before=before)
        page = [row for row, _ in found.rows]
        rows = page + rows
        if not found.before:
            return rows
        before = found.looked_to if found.looked_to is not None else page[0]


CASES = [
    {}, {"label": "favor"}, {"label": "against", "disagree": True}, {"link": "big"}, {"failure": "any"}, {"failure": "no_label"},
    {"status": "failed"}, {"status": "labelled", "gold": "wrong"}, {"disagree": True}, {"least": 2.0}, {"most": 1.0}, {"least": 1.0, "most": 6.0},
    {"label": "favor", "least": 1.0, "most": 6.0}, {"search": "harbour"}, {"search": "1"}, {"search": "7th"}, {"search": "THE 4"},
    {"search": "i11"}, {"search": "nowhere"}, {"search": "0th text", "disagree": True}, {"search": '"'}, {"search": "parks", "label": "favor", "least": 3.0},
    {"label": "none of these"}, {"link": "small", "gold": "right"},
]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_pages_hold_what_is_asked_for(indexed, case, order):
    """In the right order, each item once, from the first page on and from the last one back, whatever the size of a page."""
    ledger, index = indexed
    filters = Filters(**case, order=order)
    rows = wanted(ledger, filters)
    if not find(index, ledger, filters, 1).in_order:
        rows.sort()
    for size in (1, 7, 500):
        found, totals = forwards(ledger, index, filters, size)
        assert found == rows
        assert totals <= {len(rows), None}
        assert backwards(ledger, index, filters, size) == rows
    if not filters.search:
        assert find(index, ledger, filters, 3).total == len(rows)


def test_rare_items_are_found_either_way(indexed, monkeypatch):
    """Whether they are fetched or met on the way, the pages are the same."""
    ledger, index = indexed
    for case in CASES:
        for order in ORDERS:
            filters = Filters(**case, order=order)
            pages = []
            for rare in (0, 10**9):
                monkeypatch.setattr(finder, "RARE", rare)
                pages.append(forwards(ledger, index, filters, 9))
            assert pages[0] == pages[1]


def test_a_search_that_takes_too_long_goes_on_from_where_it_came_to(indexed, monkeypatch):
    """It shows what it has, says how far it came, and loses nothing."""
    ledger, index = indexed
    monkeypatch.setattr(finder, "SEARCH_SECONDS", -1.0)
    for case in ({"search": "9"}, {"search": "text", "disagree": True}):
        filters = Filters(**case)
        assert find(index, ledger, filters, 50).looked_to is not None
        assert forwards(ledger, index, filters, 5)[0] == wanted(ledger, filters)
        assert backwards(ledger, index, filters, 5) == wanted(ledger, filters)


def test_choices_are_counted(indexed):
    """How many items each filter finds is what it does find."""
    ledger, index = indexed
    names = {"label": "label", "link": "link", "status": "status", "failure": "failure", "gold": "gold"}
    for name, counts in options(index).items():
        for value, n in counts.items():
            filters = Filters(disagree=True) if name == "disagree" else Filters(**{names[name]: value})
            assert n == len(wanted(ledger, filters)) > 0


def test_the_plan_never_reads_the_whole_table_for_a_page(indexed):
    """A page of all items, or in the order of confidence, follows an index."""
    _, index = indexed
    for order, key in (("row", "PRIMARY KEY"), ("unsure", "rows_by_sure")):
        seen = []
        index.set_trace_callback(seen.append)
        find(index, indexed[0], Filters(order=order, status="labelled" if order == "row" else ""), 5, after=3)
        index.set_trace_callback(None)
        (query,) = [line for line in seen if "ORDER BY" in line]
        plan = " ".join(row[3] for row in index.execute(f"EXPLAIN QUERY PLAN {query}"))
        assert key in plan
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    "text",
    ["\"quoted\" 'words'", "NEAR(a b)", "a* OR b", "col:x", "\0abc\0", "日本語の文章", "🙂🙂🙂", "x" * 300],
)
def test_what_is_searched_for_is_no_query(indexed, text):
    """Whatever stands in the field is text."""
    ledger, index = indexed
    assert not find(index, ledger, Filters(search=text), 5).rows
    assert (trigrams(text) or "").count(" AND ") < 20
