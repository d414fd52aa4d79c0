"""A run labels every row once, buys a vote once, and goes on from what it has."""

import json
import math
from collections import Counter

import pandas as pd
import pyarrow.parquet as pq
import pytest

from catena.data.votes import read_votes
from catena.engine.results import write_labels
from catena.engine.run import Run, go_on
from catena.errors import BusyError, ChangedError, InputError, LinkError
from catena.evaluate.describe import describe_run
from catena.evaluate.simulate import Simulator
from catena.ledger import Ledger, RunLock
from catena.ledger.export import export_votes
from catena.testing.provider import FakeProvider
from chains import (
    LABELS,
    answers_in,
    chain_task,
    execute,
    label_bytes,
    labels_of,
    openai,
    rows_of,
    texts,
    votes_in,
)  # fmt: skip
from tables import vote, write_votes

ID = {"id": "id"}


@pytest.fixture
def provider():
    """A provider with the three labels."""
    with FakeProvider(labels=list(LABELS)) as running:
        yield running


def two(provider, labels=LABELS, **keys):
    """Return a task with two links."""
    return chain_task(openai(provider, "small"), openai(provider, "big"), labels=labels, data=ID, **keys)


def bought(provider):
    """Return how many calls each model got."""
    return Counter(call.model for call in provider.calls())


def test_every_row_once_in_order(provider, tmp_path):
    """Every input row comes out exactly once, in input order; each link gets and keeps its exact quota."""
    rows = rows_of(texts(31)).iloc[::-1]
    labels = execute(two(provider), rows, tmp_path / "r")
    assert [row["id"] for row in labels] == rows["id"].tolist()
    assert {row["status"] for row in labels} == {"labelled"}
    assert bought(provider) == {"small": 31, "big": 16}


def test_equal_prompts_are_bought_once(provider, tmp_path):
    """Duplicate texts share one call and one vote, and quotas count items all the same."""
    labels = execute(two(provider, aggregate="last"), rows_of(["a", "b", "c"] * 20), tmp_path / "r")
    assert bought(provider)["small"] == 3
    assert bought(provider)["big"] <= 3
    assert Counter(row["link"] for row in labels) == {"small": 30, "big": 30}


@pytest.mark.parametrize("bad", ["", " \n", "x" * 101])
def test_unaskable_text(provider, tmp_path, bad):
    """An empty or over-long text is a failed row with a reason, and no call is made for it."""
    labels = execute(two(provider, max_chars=100), rows_of(["fine", bad, "good"]), tmp_path / "r")
    assert [row["status"] for row in labels] == ["labelled", "failed", "labelled"]
    assert labels[1]["reason"]
    assert labels[1]["label"] is None
    assert bought(provider)["small"] == 2


def test_unaskable_text_spoils_no_other(provider, tmp_path):
    """Where the prompt is the same for a text that can't be asked about and one that can, the second is labelled."""
    task = two(provider, max_chars=10, prompt="{{ text[:5] }}")
    labels = execute(task, rows_of(["x" * 20, "x" * 8]), tmp_path / "r")
    assert [row["status"] for row in labels] == ["failed", "labelled"]
    labels = execute(
        two(provider, max_chars=30, prompt="{{ text[:5] }}"),
        rows_of(["x" * 20, "x" * 8]),
        tmp_path / "r",
        update=True,
    )
    assert [row["status"] for row in labels] == ["labelled", "labelled"]


def test_finished_run_does_nothing(provider, tmp_path):
    """A finished run makes no call and says so."""
    execute(two(provider), rows_of(texts(9)), tmp_path / "r")
    calls = len(provider.calls())
    assert Run(two(provider), rows_of(texts(9)), tmp_path / "r").execute().did_nothing
    assert len(provider.calls()) == calls


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"aggregate": "last"}, {"policy": {"share": ["0.2", "0.8"]}}, {"chain": "swap"}]
)
def test_changed_decision_re_decides(provider, tmp_path, change):
    """Another order, share, aggregate or seed gives the labels of a new run, and buys only votes that are lacking."""
    rows = rows_of(texts(40))
    execute(two(provider), rows, tmp_path / "r")
    before = {(call.model, call.key) for call in provider.calls()}
    links = [openai(provider, "small"), openai(provider, "big")]
    other = dict(change)
    task = chain_task(*(links[::-1] if other.pop("chain", "") else links), data=ID, **other)
    execute(task, rows, tmp_path / "r")
    made = [(call.model, call.key) for call in provider.calls()]
    assert len(made) == len(set(made))
    assert before < set(made) or len(before) == len(made)
    execute(task, rows, tmp_path / "new")
    assert label_bytes(tmp_path / "r") == label_bytes(tmp_path / "new")


def test_a_reason_is_that_of_a_link_the_row_reaches(provider, tmp_path):
    """What a link said of a row under an earlier decision is no reason where the row does not reach it now."""
    rows = rows_of([*texts(4), *[""] * 12])
    links = [openai(provider, "small"), openai(provider, "big")]
    execute(chain_task(*links, data=ID), rows, tmp_path / "r")
    again = execute(chain_task(*links[::-1], data=ID), rows, tmp_path / "r")
    new = execute(chain_task(*links[::-1], data=ID), rows, tmp_path / "new")
    assert again == new
    assert {row["reason"] for row in new} == {
        None,
        *(f"link '{name}': the text is empty" for name in ("small", "big")),
    }


@pytest.mark.parametrize(
    ("change", "said", "more"),
    [
        ({"rows": [*texts(10), "new one"]}, "1 added", 1),
        ({"rows": texts(9)}, "1 removed", 0),
        ({"rows": ["edited", *texts(10)[1:]]}, "1 edited", 1),
        ({"instruction": "Another question?"}, "the questions changed", 10),
        ({"labels": ["favor", "against", "other"]}, "other settings or labels than those of its 10 votes", 10),
        ({"small": {"temperature": 0.5}}, "link 'small' has other settings", 10),
    ],
)  # fmt: skip
def test_changes_are_refused(provider, tmp_path, change, said, more):
    """Changed rows, prompts, labels and links are refused with counts; --update buys what is new; the result is a new run's."""
    execute(two(provider), rows_of(texts(10)), tmp_path / "r")
    calls = bought(provider)["small"]
    change = dict(change)
    rows = rows_of(change.pop("rows", texts(10)))
    links = [openai(provider, "small", **change.pop("small", {})), openai(provider, "big")]
    task = chain_task(*links, data=ID, **change)
    with pytest.raises(ChangedError, match=said) as error:
        Run(task, rows, tmp_path / "r").execute()
    assert error.value.exit_code == 2
    assert bought(provider)["small"] == calls
    labels = execute(task, rows, tmp_path / "r", update=True)
    assert [row["id"] for row in labels] == rows["id"].tolist()
    assert bought(provider)["small"] == calls + more
    assert labels == execute(task, rows, tmp_path / "new")


def test_fresh_moves_aside(provider, tmp_path):
    """--fresh keeps the old run under another name and begins anew."""
    execute(two(provider), rows_of(texts(5)), tmp_path / "r")
    execute(two(provider), rows_of(["other"]), tmp_path / "r", fresh=True)
    assert votes_in(tmp_path / "r.old-1")["small"] == 5
    assert votes_in(tmp_path / "r")["small"] == 1


def test_fresh_leaves_other_folders(provider, tmp_path):
    """A folder that holds no run is neither used nor moved."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="other files"):
        execute(two(provider), rows_of(["a"]), tmp_path, fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_address_is_no_change(provider, tmp_path):
    """Where a model is served may change freely."""
    execute(two(provider), rows_of(texts(6)), tmp_path / "r")
    with FakeProvider(labels=list(LABELS)) as other:
        assert Run(two(other), rows_of(texts(6)), tmp_path / "r").execute().did_nothing
        assert not other.calls()


def test_busy(provider, tmp_path):
    """A run that is held by another is refused before anything is called."""
    (tmp_path / "r").mkdir()
    lock = RunLock(tmp_path / "r")
    with pytest.raises(BusyError):
        execute(two(provider), rows_of(["a"]), tmp_path / "r")
    lock.release()
    assert not provider.calls()


def test_private_files(provider, tmp_path):
    """The run's folder and all its files are for their owner only."""
    execute(two(provider), rows_of(["a"]), tmp_path / "r")
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "r").iterdir()} == {0o600}


def test_gold_alone(provider, tmp_path):
    """Changed gold is taken over into the labels file, without a call."""
    task = chain_task(openai(provider), data=ID | {"gold": "gold"})
    execute(task, rows_of(["a", "b"], gold=["favor", None]), tmp_path / "r")
    labels = execute(task, rows_of(["a", "b"], gold=["favor", "none"]), tmp_path / "r")
    assert [row["gold"] for row in labels] == ["favor", "none"]
    assert len(provider.calls()) == 2


def test_concurrency_decides_nothing(tmp_path):
    """One call at a time and 64 give the same bytes."""
    faults = {"no_label": 0.05, "two_labels": 0.05, "500": 0.02}
    with FakeProvider(labels=list(LABELS), jitter=0.003, faults=faults) as provider:
        for concurrency in (1, 64):
            links = [openai(provider, name, concurrency=concurrency) for name in ("small", "mid", "big")]
            execute(chain_task(*links, data=ID), rows_of(texts(150)), tmp_path / str(concurrency))
            provider.control(seed=0)
            provider.desk.attempts.clear()
    assert label_bytes(tmp_path / "1") == label_bytes(tmp_path / "64")


@pytest.mark.parametrize("aggregate", ["rank", "last"])
def test_replay_gives_the_same_labels(tmp_path, aggregate):
    """Replay links over a run's exported votes give its labels byte for byte, and the simulator the same labels."""
    with FakeProvider(labels=list(LABELS), faults={"no_label": 0.1, "refusal": 0.1}) as provider:
        links = [openai(provider, name) for name in ("small", "mid", "big")]
        task = chain_task(*links, data=ID, aggregate=aggregate)
        rows = rows_of([*texts(60), "", *texts(20)])
        labels = execute(task, rows, tmp_path / "r")
    ledger = Ledger(tmp_path / "r")
    export_votes(ledger, ["small", "mid", "big"], LABELS, task.data, tmp_path / "votes")
    ledger.close()
    replays = [
        {"name": name, "kind": "replay", "votes": str(tmp_path / "votes")} for name in ("small", "mid", "big")
    ]
    execute(chain_task(*replays, data=ID, aggregate=aggregate), rows, tmp_path / "replayed")
    assert label_bytes(tmp_path / "replayed") == label_bytes(tmp_path / "r")
    simulator = Simulator(read_votes(tmp_path / "votes"))
    simulator.write_labels(
        ["small", "mid", "big"], simulator.decide(["small", "mid", "big"]), tmp_path / "s.parquet"
    )
    assert pq.read_table(tmp_path / "s.parquet")[aggregate].to_pylist() == [row["label"] for row in labels]


def test_missing_confidences(tmp_path):
    """Votes with a NaN or no confidence are labels too; they rank below all others at their link."""
    votes = [
        vote("a", "s", "favor", math.nan),
        vote("b", "s", "favor", None),
        vote("c", "s", "favor", 0.1),
        vote("d", "s", None, 0.9),
    ]
    votes += [vote(item, "t", "against", None) for item in "abcd"]
    folder = write_votes(tmp_path / "v", votes, list("abcd"), labels=list(LABELS))
    links = [{"name": name, "kind": "replay", "votes": str(folder)} for name in "st"]
    rows = rows_of(list("abcd"))
    rows["id"] = list("abcd")
    labels = execute(chain_task(*links, data=ID, aggregate="last"), rows, tmp_path / "r")
    assert {row["status"] for row in labels} == {"labelled"}
    assert labels[2] | {"gold": None} == {
        "id": "c",
        "label": "favor",
        "confidence": 0.1,
        "link": "s",
        "status": "labelled",
        "reason": None,
        "gold": None,
    }
    assert labels[3]["link"] == "t"


def test_all_votes_of_a_link_failed(tmp_path):
    """Where one link has no label for any item, the next one labels those it gets, and the others fail with a reason."""
    with FakeProvider(labels=list(LABELS)) as provider, FakeProvider(faults={"no_label": 1}) as mute:
        task = chain_task(openai(mute, "small"), openai(provider, "big"), data=ID, aggregate="last")
        labels = execute(task, rows_of(texts(10)), tmp_path / "r")
    assert Counter(row["status"] for row in labels) == {"labelled": 5, "failed": 5}
    assert all(
        row["reason"].startswith("link 'small': answered") for row in labels if row["status"] == "failed"
    )


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_items_than_links(provider, tmp_path, count):
    """One item and two items through three links are labelled."""
    links = [openai(provider, name) for name in ("small", "mid", "big")]
    labels = execute(chain_task(*links), rows_of(texts(count)), tmp_path / "r")
    assert [row["status"] for row in labels] == ["labelled"] * count


def test_outage_of_a_small_run_is_not_finished(tmp_path):
    """Where every call of a link failed, the run stops, again and again, and goes on when the link works."""
    with FakeProvider(labels=list(LABELS), faults={"400": 1}) as provider:
        for _ in range(2):
            with pytest.raises(LinkError, match="all its calls failed: HTTP 400"):
                execute(two(provider), rows_of(texts(5)), tmp_path / "r")
        assert set(bought(provider)) == {"small"}
        provider.control(faults={})
        labels = execute(two(provider), rows_of(texts(5)), tmp_path / "r")
    assert {row["status"] for row in labels} == {"labelled"}


def test_resume_with_one_bad_row_finishes(provider, tmp_path):
    """A run that lacks only a row that its link can't answer finishes with that row failed."""
    execute(chain_task(openai(provider), data=ID), rows_of(texts(20)), tmp_path / "r")
    provider.control(faults={"400": 1})
    task = chain_task(openai(provider), data=ID)
    labels = execute(task, rows_of([*texts(20), "poison"]), tmp_path / "r", update=True)
    assert labels[-1]["status"] == "failed"


def test_usage_counts_all_tries(provider, tmp_path):
    """A call that failed is counted like one that did not."""
    provider.control(faults={"400": 0.5})
    execute(chain_task(openai(provider), data=ID), rows_of(texts(12)), tmp_path / "r")
    calls = sum(answer.usage.calls for answer in answers_in(tmp_path / "r", "small").values())
    assert calls == len(provider.calls()) == 12


def test_no_confidence_warns_once(tmp_path):
    """A link without log-probabilities gives votes without confidence, and one warning."""
    warnings = []
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        Run(two(provider), rows_of(texts(30)), tmp_path / "r").execute(
            watch=lambda p: warnings.append(p.warnings)
        )
    assert len(warnings[0]) == 2
    assert {row["confidence"] for row in labels_of(tmp_path / "r")} == {None}
    assert json.dumps(warnings[0]).count("small") == 1


def test_gold_may_come_later(provider, tmp_path):
    """Naming the gold column afterwards, or another one, changes no question: nothing is bought, and gold comes out."""
    rows = rows_of(texts(9), truth=["favor"] * 9, second=["none"] * 9)
    execute(two(provider), rows, tmp_path / "r")
    before = bought(provider)
    for column, value in (("truth", "favor"), ("second", "none")):
        task = chain_task(openai(provider, "small"), openai(provider, "big"), data=ID | {"gold": column})
        labels = execute(task, rows, tmp_path / "r")
        assert {row["gold"] for row in labels} == {value}
    assert bought(provider) == before


def test_a_template_that_fails_on_one_row_fails_that_row(provider, tmp_path):
    """The row comes out failed with the reason; the others are labelled."""
    rows = rows_of(texts(5), year=["2001", "2002", "x", "2004", "2005"])
    task = chain_task(openai(provider), data=ID, instruction="Before {{ 1 / (0 if year == 'x' else 1) }}?")
    labels = execute(task, rows, tmp_path / "r")
    assert [row["status"] for row in labels] == ["labelled"] * 2 + ["failed"] + ["labelled"] * 2
    assert "row 3: the template failed: division by zero" in labels[2]["reason"]


def test_a_template_that_fails_on_the_first_row_is_refused(provider, tmp_path):
    """It would fail everywhere, most likely: nothing is bought."""
    task = chain_task(openai(provider), data=ID, instruction="{{ 1 / 0 }}?")
    with pytest.raises(InputError, match="row 1: the template failed"):
        execute(task, rows_of(texts(5)), tmp_path / "r")
    assert not provider.calls()


def test_an_inserted_row_moves_nothing(provider, tmp_path):
    """Counts of changes name the row that is new, not all that come after it."""
    execute(two(provider), rows_of(texts(9)), tmp_path / "r")
    rows = rows_of(texts(9))
    with pytest.raises(ChangedError, match=r"rows changed \(1 added\)"):
        execute(two(provider), pd.concat([rows_of(["new"]).assign(id="n"), rows]), tmp_path / "r")
    with pytest.raises(ChangedError, match=r"rows changed \(9 moved\)|rows changed \(8 moved\)"):
        execute(two(provider), rows.iloc[::-1], tmp_path / "r")


def test_a_refused_command_changes_nothing(provider, tmp_path):
    """Rows and gold of a run stay as they were when other rows, settings or another gold column are refused."""
    rows = rows_of(texts(9), truth=["favor"] * 9)
    links = openai(provider, "small"), openai(provider, "big")
    execute(chain_task(*links, data=ID | {"gold": "truth"}), rows, tmp_path / "r")
    before = label_bytes(tmp_path / "r")
    other = rows_of(texts(8), truth=["none"] * 8)
    for task in (chain_task(*links, data=ID), chain_task(*links, data=ID | {"gold": "truth"})):
        with pytest.raises(ChangedError, match="1 removed"):
            execute(task, other, tmp_path / "r")
    ledger = Ledger(tmp_path / "r")
    assert list(ledger.gold()) == ["favor"] * 9
    assert ledger.get("finished")
    ledger.close()
    assert label_bytes(tmp_path / "r") == before


def test_the_dearest_link_costs_the_same_after_a_new_decision(provider, tmp_path):
    """What labelling everything with it would have cost does not depend on how many items reach it now."""
    price = {"input": 10.0, "output": 10.0}
    links = openai(provider, "small"), openai(provider, "big", price=price)
    told = []
    for share in ([0.1, 0.9], [0.9, 0.1]):
        task = chain_task(*links, data=ID, policy={"share": share})
        execute(task, rows_of(texts(60)), tmp_path / "r")
        ledger = Ledger(tmp_path / "r")
        told.append(describe_run(ledger, task)["dearest"]["cost_usd"])
        ledger.close()
    assert told[0] == pytest.approx(told[1], rel=0.05)


@pytest.mark.parametrize("copies", [1, 2])
def test_the_dearest_link_costs_what_it_costs_now(provider, tmp_path, copies):
    """Votes on earlier questions were paid too, but labelling everything with the dearest link would not ask them again."""
    price = {"input": 10.0, "output": 10.0}
    links = openai(provider, "small"), openai(provider, "big", price=price)
    rows = rows_of([text for text in texts(30) for _ in range(copies)])
    told = []
    for out, questions in (("r", ["Which one?", "Which is it?"]), ("s", ["Which is it?"])):
        for question in questions:
            task = chain_task(*links, data=ID, instruction=question)
            execute(task, rows, tmp_path / out, update=True)
        ledger = Ledger(tmp_path / out)
        told.append(describe_run(ledger, task)["dearest"]["cost_usd"])
        ledger.close()
    assert told[0] == pytest.approx(told[1])


def test_what_is_missing_is_said_before_anything_is_paid(provider, tmp_path, monkeypatch):
    """A key that a later link lacks stops the run before the first link is asked."""
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    task = chain_task(openai(provider), openai(provider, "big", api_key_env="NO_SUCH_KEY"), data=ID)
    with pytest.raises(LinkError, match="no key in NO_SUCH_KEY"):
        execute(task, rows_of(texts(9)), tmp_path / "r")
    assert not provider.calls()


def test_joined_columns_keep_their_names(provider, tmp_path):
    """Columns of the input come out as they were; of ours with such a name, the name is another."""
    rows = rows_of(texts(3), link=["a", "b", "c"], label=["x", "y", "z"])
    task = chain_task(openai(provider), data=ID)
    execute(task, rows, tmp_path / "r")
    ledger = Ledger(tmp_path / "r")
    write_labels(ledger, task, tmp_path / "j.parquet", join=True)
    ledger.close()
    joined = pq.read_table(tmp_path / "j.parquet").to_pylist()
    assert [(row["link"], row["label"]) for row in joined] == [("a", "x"), ("b", "y"), ("c", "z")]
    assert {row["link_catena"] for row in joined} == {"small"}


def test_a_stopped_retry_goes_on(provider, tmp_path):
    """A finished run whose failures are asked again, and that stops meanwhile, is not finished: it goes on."""
    provider.control(faults={"400": 0.2})
    labels = execute(two(provider, aggregate="last"), rows_of(texts(40)), tmp_path / "r")
    provider.control(faults={"401": 1})
    with pytest.raises(LinkError):
        execute(two(provider, aggregate="last"), rows_of(texts(40)), tmp_path / "r", retry_failed=True)
    provider.control(faults={})
    labels = execute(two(provider, aggregate="last"), rows_of(texts(40)), tmp_path / "r")
    assert {row["status"] for row in labels} == {"labelled"}


def test_a_failed_row_names_a_link_that_it_reached(provider, tmp_path):
    """Also where the ledger holds what a link said that an earlier decision asked about all rows."""
    rows = rows_of([" "] * 5)
    execute(two(provider), rows, tmp_path / "r")
    turned = chain_task(openai(provider, "big"), openai(provider, "small"), data=ID)
    assert execute(turned, rows, tmp_path / "r") == execute(turned, rows, tmp_path / "fresh")


def test_a_sample_is_no_run_to_go_on_with(tmp_path):
    """What asked links about some rows only, as a pilot does, is not gone on with as a run over all of them."""
    with FakeProvider() as provider:
        task, rows = chain_task(openai(provider), data={"id": "id"}), rows_of(texts(20))
        Run(task, rows, tmp_path / "r").ask([0, 1, 2], ["small"])
        with pytest.raises(InputError, match="asked about a sample only"):
            go_on(tmp_path / "r")
        assert len(provider.calls()) == 3
        execute(task, rows, tmp_path / "r")
        assert go_on(tmp_path / "r").did_nothing
