"""A link that fails as a whole stops the run before it floods the next one."""

import time
from collections import Counter

import pytest

from catena.engine.health import FEW, WINDOW, Health
from catena.engine.run import Run
from catena.errors import LinkError
from catena.testing.provider import FakeProvider
from catena.types import Failure, Vote
from chains import LABELS, answers_in, chain_task, execute, openai, rows_of, texts, votes_in


def test_three_most_frequent_errors():
    """The error names the link and its three most frequent errors with counts, and can be resumed."""
    health = Health("gpt")
    for at in range(WINDOW - 1):
        health.see(Failure("server", f"error {int(at**0.5)}"))
    with pytest.raises(LinkError) as error:
        health.see(Failure("server", "error 6"))
    assert str(error.value).startswith(
        "link 'gpt': 50 of its last 50 calls failed: error 6 (14 x); error 5 (11 x); error 4 (9 x)."
    )
    assert error.value.exit_code == 3


def test_items_own_failures_say_nothing():
    """Answers without a label are no failures of the link."""
    health = Health("gpt")
    for _ in range(200):
        health.see(Failure("no_label", "x"))
    health.end(voted=False)


def test_half_may_fail():
    """A link that answers every second call goes on."""
    health = Health("gpt")
    for _ in range(200):
        health.see(Vote("x"))
        health.see(Failure("server", "x"))
    health.end(voted=False)


@pytest.mark.parametrize(
    ("failures", "worked", "stops"), [(1, False, True), (FEW, True, False), (FEW + 1, True, True)]
)
def test_end(failures, worked, stops):
    """A link whose calls all failed stops the run at its end; if it worked before, only where they are more than a few."""
    health = Health("gpt")
    for _ in range(failures):
        health.see(Failure("server", "x"))
    if stops:
        with pytest.raises(LinkError, match="all its calls failed"):
            health.end(voted=worked)
    else:
        health.end(voted=worked)


def test_dear_link_is_not_flooded(tmp_path):
    """While the first link fails from the start, the second one gets nothing; the run goes on when it works again."""
    with FakeProvider(labels=list(LABELS), faults={"400": 1}) as provider:
        task = chain_task(openai(provider, "small"), openai(provider, "dear"), data={"id": "id"})
        with pytest.raises(LinkError, match="The request is not valid"):
            execute(task, rows_of(texts(400)), tmp_path / "r")
        asked = Counter(call.model for call in provider.calls())
        assert asked["small"] < 100
        assert asked["dear"] == 0
        provider.control(faults={})
        labels = execute(task, rows_of(texts(400)), tmp_path / "r")
    assert {row["status"] for row in labels} == {"labelled"}


@pytest.mark.parametrize("fault", ["401", "403", "404", "quota"])
def test_refused_link_is_asked_once(tmp_path, fault):
    """A refused key, model or account stops the run at once, whatever is in flight, and is not asked again."""
    with FakeProvider(labels=list(LABELS), faults={fault: 1}) as provider:
        task = chain_task(openai(provider, "small", concurrency=4), data={"id": "id"})
        start = time.monotonic()
        with pytest.raises(LinkError, match=r"link 'small': HTTP"):
            execute(task, rows_of(texts(400)), tmp_path / "r")
        assert time.monotonic() - start < 5
        assert len(provider.calls()) <= 8
        assert {call.attempt for call in provider.calls()} == {1}


def test_share_can_be_set(tmp_path):
    """`most_failed` sets the share of failures that stops the run."""
    with FakeProvider(labels=list(LABELS), faults={"400": 0.6}) as provider:
        with pytest.raises(LinkError, match="of its last 50 calls failed"):
            execute(chain_task(openai(provider), data={"id": "id"}), rows_of(texts(300)), tmp_path / "r")
        task = chain_task(openai(provider, most_failed=0.9), data={"id": "id"})
        labels = execute(task, rows_of(texts(300)), tmp_path / "s")
    assert Counter(row["status"] for row in labels)["labelled"] > 60


def test_calls_in_flight_of_other_links_are_kept_when_one_is_refused(tmp_path):
    """The answers that are on their way when a link turns out to be unusable are paid for, and so are committed."""
    with FakeProvider(labels=list(LABELS), models=["small"], latency=0.05) as provider:
        task = chain_task(
            openai(provider, "small", concurrency=8), openai(provider, "gone"), data={"id": "id"}
        )
        with pytest.raises(LinkError, match="link 'gone': HTTP 404"):
            execute(task, rows_of(texts(200)), tmp_path / "r")
        answered = sum(call.usable and call.model == "small" for call in provider.calls())
    assert votes_in(tmp_path / "r")["small"] == answered


def test_another_model_is_noticed_once():
    """A server that answers as another model on the way is said so; its build may change, and an unnamed one is no other."""
    health = Health("small")
    said = [
        health.renamed(Vote("favor", model=name)) for name in ("a fp_1", "a fp_2", "", "b fp_1", "c", "a")
    ]
    assert [bool(line) for line in said] == [False, False, False, True, False, False]
    assert "answered as model 'a' and now answers as 'b'" in said[3]


def test_a_run_says_that_its_model_changed(tmp_path):
    """Once, among the run's warnings; every vote keeps the model that gave it."""
    with FakeProvider(labels=list(LABELS)) as provider:
        plain, calls = provider.desk.prepare, []

        def prepare(call):
            status, body, headers = plain(call)
            calls.append(call)
            return (
                status,
                body.replace(b'"model":"small"', b'"model":"other"') if len(calls) > 3 else body,
                headers,
            )

        provider.desk.prepare = prepare
        task = chain_task(openai(provider, concurrency=1), data={"id": "id"})
        seen = []
        Run(task, rows_of(texts(8)), tmp_path / "r").execute(watch=seen.append)
    lines = [line for progress in seen for line in progress.warnings]
    assert [line for line in lines if "now answers as 'other'" in line] == lines
    assert len(lines) == 1
    models = {vote.model.partition(" ")[0] for vote in answers_in(tmp_path / "r", "small").values()}
    assert models == {"small", "other"}
