"""What `catena check` finds out, with one call per link."""

import pytest

from catena.data.rows import read_rows
from catena.engine.check import check_task
from catena.testing.provider import FakeProvider
from chains import LABELS, chain_task, openai, rows_of
from tables import vote, write_votes


@pytest.mark.parametrize(
    ("faults", "answered"), [({}, True), ({"no_label": 1}, False), ({"refusal": 1}, False)]
)
def test_a_link_works_when_its_answer_names_a_label(faults, answered):
    """An answer that is no label is not what a run needs."""
    with FakeProvider(labels=list(LABELS), faults=faults) as provider:
        (link,) = check_task(chain_task(openai(provider)), None)["links"]
    assert link["answered"] is answered


def test_a_replay_link_may_lack_the_one_vote(tmp_path):
    """The item that is asked about need not be recorded for the link to work."""
    votes = write_votes(tmp_path, [vote("a", "old", "favor")])
    task = chain_task({"name": "old", "kind": "replay", "votes": str(votes)})
    (link,) = check_task(task, None)["links"]
    assert (link["answered"], link["label"]) == (True, None)


def test_a_row_that_the_template_fails_on_costs_nothing():
    """It will be a failed row without a call; the others are bounded."""
    with FakeProvider(labels=list(LABELS)) as provider:
        task = chain_task(
            openai(provider, price={"input": 1.0, "output": 1.0}),
            data={"id": "id"},
            instruction="{{ 1 / (0 if year == 'x' else 1) }}?",
        )
        rows = read_rows(rows_of(["a", "b"], year=["1", "x"]), task.data, task.labels)
        assert check_task(task, rows)["most_usd"] > 0
