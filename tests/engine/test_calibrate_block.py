"""`calibrate: N` of a link: what a link favours is taken out of its votes in every decision, whenever they came."""

import pytest

from catena.data.votes import read_votes
from catena.engine.run import Run
from catena.errors import LinkError, TaskError
from catena.ledger import Ledger
from catena.ledger.export import export_votes
from catena.links import open_link
from catena.testing.provider import FakeProvider, Reply
from catena.testing.tokens import LabelTree
from chains import chain_task, execute, label_bytes, openai, rows_of, texts, votes_in

LABELS = ("favor", "against")
ROWS = 60


def favouring(provider):
    """Return a model that gives `favor` nine times its due."""
    tree = LabelTree(list(LABELS), 0.0)

    def answer(request):
        shares = provider.annotator.distribution(request["messages"], "same")
        weights = [9 * shares["favor"], shares["against"]]
        positions, _ = tree.speak([weight / sum(weights) for weight in weights])
        return Reply(positions[0].token + "".join(p.token for p in positions[1:-1]), positions)

    return answer


@pytest.fixture
def provider():
    """A provider whose model favours a label."""
    with FakeProvider(labels=list(LABELS), other=0.0, sharpness=4.0) as running:
        running.desk._given = favouring(running)
        yield running


def task_of(provider, size=40, **options):
    """Return a chain of a cheap link that is calibrated and a dear one."""
    small = openai(provider, calibrate=size, **options) if size else openai(provider, **options)
    return chain_task(small, openai(provider, "big"), labels=LABELS, data={"id": "id"})


def named(out, link="small"):
    """Return how often a link's votes name each label, as they count in decisions."""
    with Ledger(out) as ledger:
        said = [answer.label for _, _, answer, _ in ledger.answers(ledger.links()[link][0])]
    return {label: said.count(label) for label in LABELS}


def test_a_label_that_is_favoured_is_named_less(provider, tmp_path):
    """Both labels are about as frequent in truth; without calibration nearly all votes are for one."""
    execute(task_of(provider, 0), rows_of(texts(ROWS)), tmp_path / "plain")
    execute(task_of(provider), rows_of(texts(ROWS)), tmp_path / "r")
    assert named(tmp_path / "plain")["favor"] > 0.8 * ROWS
    assert 0.3 * ROWS < named(tmp_path / "r")["favor"] < 0.7 * ROWS


def test_votes_are_kept_as_they_were_given(provider, tmp_path):
    """Calibration decides and buys nothing: with and without it a run goes on from the same votes."""
    execute(task_of(provider, 0), rows_of(texts(ROWS)), tmp_path / "r")
    plain, bought = label_bytes(tmp_path / "r"), votes_in(tmp_path / "r")["small"]
    execute(task_of(provider), rows_of(texts(ROWS)), tmp_path / "r")
    assert votes_in(tmp_path / "r")["small"] == bought == ROWS
    assert label_bytes(tmp_path / "r") != plain
    execute(task_of(provider, 0), rows_of(texts(ROWS)), tmp_path / "r")
    assert label_bytes(tmp_path / "r") == plain
    with Ledger(tmp_path / "r") as ledger:
        assert not ledger.get("means")


@pytest.mark.parametrize("concurrency", [1, 32])
def test_timing_changes_nothing(provider, tmp_path, concurrency):
    """At any concurrency, and after a stop midway, the labels are those of one call at a time."""
    provider.control(latency=0.001, jitter=0.02)
    execute(task_of(provider, concurrency=1), rows_of(texts(ROWS)), tmp_path / "one")
    capped = task_of(provider, concurrency=concurrency)
    execute(capped, rows_of(texts(ROWS)), tmp_path / "many")
    assert label_bytes(tmp_path / "one") == label_bytes(tmp_path / "many")


def test_quotas_are_exact(provider, tmp_path):
    """Half of the rows go on, however few the values are."""
    task = task_of(provider, confidence="samples", samples=2)
    execute(task, rows_of(texts(ROWS)), tmp_path / "r")
    assert votes_in(tmp_path / "r") == {"small": ROWS, "big": ROWS // 2}


def test_exported_votes_are_those_that_decided(provider, tmp_path):
    """A vote table replays the run: label and confidence are the calibrated ones."""
    task = task_of(provider)
    execute(task, rows_of(texts(ROWS)), tmp_path / "r")
    with Ledger(tmp_path / "r") as ledger:
        export_votes(ledger, ["small"], LABELS, task.data, tmp_path / "votes")
        _, label, sure = ledger.decided(ledger.links()["small"][0], LABELS, ROWS)
    table = read_votes(tmp_path / "votes")
    assert table.label[0].tolist() == label.tolist()
    assert table.confidence[0].tolist() == sure.tolist()


def test_a_later_link_votes_on_the_block_too(provider, tmp_path):
    """Its mean is over the first rows as well, whichever of them reach it; those votes are paid and counted."""
    links = openai(provider), openai(provider, "big", calibrate=20)
    task = chain_task(*links, labels=LABELS, data={"id": "id"})
    execute(task, rows_of(texts(ROWS)), tmp_path / "r")
    assert ROWS // 2 <= votes_in(tmp_path / "r")["big"] <= ROWS // 2 + 20
    again = Run(task, rows_of(texts(ROWS)), tmp_path / "r").execute()
    assert again.did_nothing


def test_a_link_without_distributions(tmp_path):
    """It stops the run and says what to leave out."""
    with (
        FakeProvider(labels=list(LABELS), no_logprobs=True) as provider,
        pytest.raises(LinkError, match="calibrate: none of its votes on the first 40 rows"),
    ):
        execute(task_of(provider), rows_of(texts(ROWS)), tmp_path / "r")


def test_a_verbalised_probability_is_of_one_label(provider):
    """So the two don't go together."""
    task = task_of(provider, confidence="verbalised")
    with pytest.raises(TaskError, match="calibrate: a verbalised probability"):
        open_link(task.chain[0], task)


def test_asking_one_link_leaves_the_others_calibrated(tmp_path):
    """Means of links that are not asked now stay: their votes count as they did."""
    with FakeProvider() as provider:
        chain = [openai(provider, name, calibrate=20) for name in ("small", "big")]
        run = Run(chain_task(*chain, data={"id": "id"}), rows_of(texts(60)), tmp_path / "r")
        run.ask(list(range(60)), ["small"])
        with Ledger(tmp_path / "r") as ledger:
            before = ledger.mean(ledger.links()["small"][0])
        run.ask(list(range(10)), ["big"])
    with Ledger(tmp_path / "r") as ledger:
        assert ledger.mean(ledger.links()["small"][0]) == before is not None
        assert ledger.mean(ledger.links()["big"][0])
