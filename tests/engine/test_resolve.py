"""What a task leaves open (`confidence: auto`) is found out once, before anything is labelled, and kept."""

import pytest

from catena.engine.budget import BudgetError
from catena.engine.run import Run
from catena.errors import ChangedError, LinkError
from catena.evaluate.describe import progress_of_run
from catena.ledger import Ledger
from catena.links import open_link
from catena.testing.provider import FakeProvider, Reply
from chains import LABELS, answers_in, anthropic, chain_task, execute, openai, rows_of, texts

PRICE = {"input": 1.0, "output": 2.0}


def auto(provider, **options):
    """Return a task with one link that leaves its confidence open."""
    kind = options.pop("kind", openai)
    labels = options.pop("labels", LABELS)
    task = {key: options.pop(key) for key in ("budget", "abstain") if key in options}
    return chain_task(kind(provider, confidence="auto", **options), labels=labels, data={"id": "id"}, **task)


def resolution(out, link="small"):
    """Return what a run keeps of a link."""
    with Ledger(out) as ledger:
        return ledger.get("resolved")[link]


def sources(out):
    """Return the sources of all confidences of a run's first link."""
    return {vote.source for vote in answers_in(out, "small").values()}


def said(task, rows, out, **how):
    """Run, and return the warnings."""
    seen = []
    Run(task, rows, out).execute(watch=seen.append, **how)
    return [line for progress in seen for line in progress.warnings]


def test_log_probabilities_where_there_are_some(tmp_path):
    """Votes are those of a link that says nothing, key for key; a run that began so goes on without buying any again."""
    with FakeProvider(labels=list(LABELS)) as provider:
        plain = chain_task(openai(provider), data={"id": "id"})
        execute(plain, rows_of(texts(9)), tmp_path / "r")
        before = len(provider.calls())
        execute(auto(provider), rows_of(texts(9)), tmp_path / "r")
        assert len(provider.calls()) == before + 3
    assert resolution(tmp_path / "r")["options"] == {"confidence": "logprobs"}
    assert sources(tmp_path / "r") == {"label_logprobs"}


def test_a_silent_server_is_noticed_and_the_next_rung_taken(tmp_path):
    """One that answers 200 without log-probabilities is sampled; that is said once, and stored with every vote."""
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        lines = said(auto(provider, samples=3), rows_of(texts(9)), tmp_path / "r")
    assert len(lines) == 1
    assert "link 'small': confidence: samples, since its server answers without log-probabilities" in lines[0]
    assert sources(tmp_path / "r") == {"samples"}
    assert {vote.usage.calls for vote in answers_in(tmp_path / "r", "small").values()} == {3}
    tried = resolution(tmp_path / "r")["tried"]
    assert [each["outcome"] for each in tried] == ["gives_none", "gives"]


def test_nothing_switches_on_the_way(tmp_path):
    """A run that goes on keeps to what was found, whatever the server gives by then, and says nothing more."""
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        task = auto(provider, budget={"calls": 30})
        with pytest.raises(BudgetError):
            execute(task, rows_of(texts(20)), tmp_path / "r")
        found = resolution(tmp_path / "r")
        provider.control(no_logprobs=False)
        lines = said(auto(provider), rows_of(texts(20)), tmp_path / "r")
    assert lines == []
    assert resolution(tmp_path / "r") == found
    assert sources(tmp_path / "r") == {"samples"}


def test_another_link_is_found_out_anew(tmp_path):
    """With another model, nothing is known; the votes of the first one are not taken for its own."""
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        execute(auto(provider), rows_of(texts(5)), tmp_path / "r")
        provider.control(no_logprobs=False)
        other = auto(provider, model="other")
        with pytest.raises(ChangedError):
            execute(other, rows_of(texts(5)), tmp_path / "r")
        execute(other, rows_of(texts(5)), tmp_path / "r", update=True)
    assert sources(tmp_path / "r") == {"label_logprobs"}


@pytest.mark.parametrize("kind", [openai, anthropic])
def test_a_link_without_samples_names_a_probability(tmp_path, kind):
    """A batch can't be sampled, so the last rung is taken; the probe itself asks call by call."""

    def model(request):
        asked = request["messages"][-1]["content"]
        return Reply("favor | 80" if "PERCENT" in asked else "favor")

    with FakeProvider(model, labels=list(LABELS), no_logprobs=True) as provider:
        task = auto(provider, kind=kind, mode="batch", poll=0.02)
        execute(task, rows_of(texts(5)), tmp_path / "r")
    assert sources(tmp_path / "r") == {"verbalised"}
    assert resolution(tmp_path / "r")["calls"] == (6 if kind is openai else 3)


def test_labels_that_the_tokens_leave_open_get_codes(tmp_path):
    """Where the bounds leave open which label is best, letters are asked for."""
    labels = ("a claim that holds", "a claim that fails", "a claim that is unclear")
    with FakeProvider(labels=list(labels), sharpness=0.0) as provider:
        task = auto(provider, labels=labels, top_logprobs=2)

        def coded(request):
            asked = request["messages"][-1]["content"]
            return (
                Reply("A")
                if asked.rstrip().split("\n")[-1].startswith("C = ")
                else provider.annotator(request)
            )

        provider.desk._given = coded
        execute(task, rows_of(texts(5)), tmp_path / "r")
    found = resolution(tmp_path / "r")
    assert [each["outcome"] for each in found["tried"]] == ["leaves_open", "gives"]
    assert found["options"] == {"confidence": "logprobs", "codes": True}
    assert sources(tmp_path / "r") == {"code_logprobs"}


def test_a_server_that_allows_fewer_alternatives(tmp_path):
    """What refuses 20 alternatives is asked for five."""
    with FakeProvider(labels=list(LABELS), most_logprobs=5) as provider:
        execute(auto(provider), rows_of(texts(5)), tmp_path / "r")
    found = resolution(tmp_path / "r")
    assert found["options"] == {"confidence": "logprobs", "top_logprobs": 5}
    assert sources(tmp_path / "r") == {"label_logprobs"}


def test_what_it_costs_is_counted(tmp_path):
    """The calls of the probe are no vote's, and are in the run's cost and in its budget."""
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        task = auto(provider, price=PRICE, samples=2)
        execute(task, rows_of(texts(5)), tmp_path / "r")
        calls = len(provider.calls())
    with Ledger(tmp_path / "r") as ledger:
        progress = progress_of_run(ledger, task)
        lost = ledger.get("lost")
    (link,) = progress["links"]
    assert (link["confidence"], link["resolution"]["by"]) == ("samples", "probe")
    assert link["calls"] + link["resolution"]["calls"] == calls
    assert progress["cost_usd"] == pytest.approx(link["cost_usd"] + link["resolution"]["cost_usd"])
    assert lost[2] == link["resolution"]["calls"]


def test_a_budget_that_holds_no_call(tmp_path):
    """Nothing is asked that might exceed it."""
    with FakeProvider(labels=list(LABELS)) as provider:
        with pytest.raises(BudgetError, match="before link 'small' was known"):
            execute(auto(provider, price=PRICE, budget={"usd": 1e-9}), rows_of(texts(5)), tmp_path / "r")
        assert provider.calls() == []


def test_no_way_at_all(tmp_path):
    """A model that names no label stops the run before anything is labelled, and says what to write."""
    says = r"no way to a confidence was found: .*'maybe'.*Write the link's"
    with (
        FakeProvider(lambda _: Reply("maybe"), labels=list(LABELS)) as provider,
        pytest.raises(LinkError, match=says),
    ):
        execute(auto(provider), rows_of(texts(5)), tmp_path / "r")
    with Ledger(tmp_path / "r") as ledger:
        assert not ledger.get("resolved")


def test_what_fails_in_passing_is_asked_again(tmp_path, monkeypatch):
    """A call that fails for a moment decides nothing."""
    monkeypatch.setattr("catena.engine.resolve.Inquirer.__init__.__defaults__", (0.01,))
    with FakeProvider(labels=list(LABELS), faults={"500": 0.4}) as provider:
        execute(auto(provider), rows_of(texts(5)), tmp_path / "r")
    assert resolution(tmp_path / "r")["source"] == "label_logprobs"


def test_what_the_task_says_is_kept_too(tmp_path):
    """Of a link that leaves nothing open the run keeps the source that it has."""
    with FakeProvider(labels=list(LABELS)) as provider:
        task = chain_task(openai(provider, confidence="samples", samples=2), data={"id": "id"})
        execute(task, rows_of(texts(3)), tmp_path / "r")
    found = resolution(tmp_path / "r")
    assert (found["source"], found["by"], found["calls"]) == ("samples", "task", 0)


def test_until_it_is_found_out_it_is_a_link_with_log_probabilities():
    """So its fingerprint, and with it every vote's key, is that of a link that says nothing."""
    with FakeProvider(labels=list(LABELS)) as provider:
        open_, plain = auto(provider), chain_task(openai(provider), data={"id": "id"})
        links = [open_link(task.chain[0], task) for task in (open_, plain)]
    assert links[0].fingerprint == links[1].fingerprint
    assert links[0].capabilities == links[1].capabilities


def test_a_pilot_finds_it_out_for_the_run(tmp_path):
    """Votes that a pilot asked for are the run's: nothing is found out or bought twice."""
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        task = auto(provider, samples=2)
        Run(task, rows_of(texts(6)), tmp_path / "r").ask(range(6), ["small"])
        calls = len(provider.calls())
        execute(task, rows_of(texts(6)), tmp_path / "r")
        assert len(provider.calls()) == calls == 3 + 6 + 12
    assert sources(tmp_path / "r") == {"samples"}


def test_codes_that_the_task_asks_for_are_the_first_rung(tmp_path):
    """They need log-probabilities; where there are none, the next rungs go without them."""
    with FakeProvider(lambda _: Reply("A"), labels=list(LABELS)) as provider:
        execute(auto(provider, codes=True), rows_of(texts(4)), tmp_path / "coded")
    assert resolution(tmp_path / "coded")["source"] == "code_logprobs"
    assert sources(tmp_path / "coded") == {"code_logprobs"}
    with FakeProvider(labels=list(LABELS), no_logprobs=True) as provider:
        execute(auto(provider, codes=True), rows_of(texts(4)), tmp_path / "silent")
    assert sources(tmp_path / "silent") == {"samples"}


SCORES = ["tokenize", "logprob_token_ids", "prompt_logprobs"]
ALIKE = ("pro-war", "pro-peace", "neutral")


def scoring(provider, labels=LABELS, **options):
    """Return a task whose link leaves open whether its server scores the labels."""
    return chain_task(openai(provider, scoring="auto", **options), labels=labels, data={"id": "id"})


@pytest.mark.parametrize(
    ("labels", "way", "source", "tried"),
    [
        (LABELS, "first-token", "first_token_logprobs", ["gives"]),
        (ALIKE, "likelihood", "label_likelihood", ["refused", "gives"]),
    ],
)
def test_a_server_that_scores_labels_is_used(tmp_path, labels, way, source, tried):
    """Its first tokens where these tell labels apart, else whole labels; the way is kept with the run and on every vote."""
    with FakeProvider(labels=list(labels), serves=SCORES, quirk="vllm", other=0.0) as provider:
        lines = said(scoring(provider, labels), rows_of(texts(5)), tmp_path / "r")
        before = len(provider.calls())
        provider.control(serves=[])
        assert Run(scoring(provider, labels), rows_of(texts(5)), tmp_path / "r").execute().did_nothing
        assert len(provider.calls()) == before
    found = resolution(tmp_path / "r")
    assert (found["options"], found["source"]) == ({"scoring": way}, source)
    assert [each["outcome"] for each in found["tried"]] == tried
    assert lines == [
        f"link 'small': scoring: {way}, since its server scores labels itself. The whole run keeps to it."
    ]
    assert sources(tmp_path / "r") == {source}


def test_a_server_that_does_not_score_labels_answers(tmp_path):
    """Votes are then those of a link that says nothing, key for key; what was tried is kept."""
    with FakeProvider(labels=list(LABELS)) as provider:
        execute(chain_task(openai(provider), data={"id": "id"}), rows_of(texts(5)), tmp_path / "r")
        execute(scoring(provider), rows_of(texts(5)), tmp_path / "r")
        votes = len([call for call in provider.calls() if call.status == 200])
        assert {vote.source for vote in answers_in(tmp_path / "r", "small").values()} == {"label_logprobs"}
    found = resolution(tmp_path / "r")
    assert (found["options"], found["source"]) == ({"scoring": "answer"}, "label_logprobs")
    assert [each["outcome"] for each in found["tried"]] == ["refused", "no_label"]
    assert "/tokenize" in found["tried"][0]["said"]
    assert votes == 5 + 3  # and three answers to `likelihood` that score nothing


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"serves": SCORES, "quirk": "vllm"}, {"scoring": "first-token", "confidence": "logprobs"}),
        ({"no_logprobs": True}, {"scoring": "answer", "confidence": "samples"}),
    ],
)
def test_both_left_open(tmp_path, settings, options):
    """The server's own scores first, then the ladder; `samples` go only where samples are taken."""
    with FakeProvider(labels=list(LABELS), other=0.0, **settings) as provider:
        task = scoring(provider, confidence="auto", samples=2)
        execute(task, rows_of(texts(4)), tmp_path / "r")
    assert resolution(tmp_path / "r")["options"] == options
    wanted = "samples" if options["confidence"] == "samples" else "first_token_logprobs"
    assert sources(tmp_path / "r") == {wanted}


def test_scores_that_stop_coming_are_no_other_votes(tmp_path):
    """A server that scored labels and does not any more makes failures, and no vote of another source."""
    with FakeProvider(labels=list(ALIKE), serves=SCORES, quirk="vllm") as provider:
        task = chain_task(
            openai(provider, scoring="auto", most_failed=1.0),
            labels=ALIKE,
            data={"id": "id"},
            budget={"calls": 22},
        )
        with pytest.raises(BudgetError):
            execute(task, rows_of(texts(12)), tmp_path / "r")
        provider.control(serves=["tokenize"])
        execute(
            chain_task(openai(provider, scoring="auto", most_failed=1.0), labels=ALIKE, data={"id": "id"}),
            rows_of(texts(12)),
            tmp_path / "r",
        )
    assert resolution(tmp_path / "r")["options"] == {"scoring": "likelihood"}
    answers = answers_in(tmp_path / "r", "small").values()
    assert {getattr(each, "source", each.__class__.__name__) for each in answers} == {
        "label_likelihood",
        "Failure",
    }


def test_a_server_that_is_down_decides_nothing(tmp_path, monkeypatch):
    """Where nothing answers the run stops, and nothing is taken for found out."""
    monkeypatch.setattr("catena.engine.resolve.Inquirer.__init__.__defaults__", (0.001,))
    with FakeProvider(labels=list(LABELS), serves=SCORES, down=True) as provider, pytest.raises(LinkError):
        execute(scoring(provider), rows_of(texts(4)), tmp_path / "r")
    with Ledger(tmp_path / "r") as ledger:
        assert not ledger.get("resolved")
