"""Failures that may have passed are forgotten and asked for again, but for those that are settled."""

from catena.ledger import WritableLedger
from catena.testing.provider import FakeProvider
from chains import chain_task, execute, openai, rows_of, texts


def failed_run(folder):
    """Run a chain of two links whose calls often fail for a reason that may have passed; return its folder."""
    with FakeProvider(faults={"400": 0.2}) as provider:
        task = chain_task(
            openai(provider), openai(provider, "big"), policy={"share": [0, 1]}, data={"id": "id"}
        )
        execute(task, rows_of(texts(60)), folder / "r")
    return folder / "r"


def test_settled_failures_stay(tmp_path):
    """Others are forgotten; what those cost stays counted."""
    with WritableLedger(failed_run(tmp_path)) as ledger:
        small, big = (ledger.links()[name][0] for name in ("small", "big"))
        mine, others = ledger.transient([small]), ledger.transient([big])
        assert len(mine) > 3 < len(others)
        assert ledger.settle([small]) == ledger.settle([small]) == len(mine)
        assert ledger.transient([small, big]) == others
        assert ledger.forget_transient() == len(others)
        assert ledger.votes_count(big) == 60 - len(others)
        assert ledger.asked_count(small) == (60, len(mine))
        assert ledger.get("lost")[2] == len(others)
        assert ledger.forget_transient() == 0


def test_some_failures_are_forgotten(tmp_path):
    """Those that are named; a name of what is no failure does nothing."""
    with WritableLedger(failed_run(tmp_path)) as ledger:
        small = ledger.links()["small"][0]
        first, *rest = ledger.transient([small])
        assert ledger.forget_transient({first, (small, b"nothing")}) == 1
        assert ledger.transient([small]) == rest
        assert ledger.forget_transient({first}) == 0
