"""Links one after another: one is loaded at a time, and the labels are those of links that work at the same time."""

import asyncio
import importlib.util
import signal
import weakref

import msgspec
import numpy as np
import pytest

from catena.engine.run import Run
from catena.errors import LinkError, StoppedError
from catena.evaluate.crossfit import CrossFit
from catena.routing import Policy
from catena.routing.spend import Spend, spending
from catena.types import Capabilities, Failure, Usage, Vote
from chains import chain_task, label_bytes, rows_of, votes_in
from panels import panel, sample

N = 150
CHAIN = ("link0", "link1", "link2")
TABLE, WORDS = panel([0.7, 1.2, 2.0], n=N, uneven=0.6, lost=0.05, digits=1)
RULE = CrossFit(sample(TABLE, np.arange(90), 0, WORDS), 3).rule((0, 1, 2))
USD = dict(zip(CHAIN, np.nanmean(TABLE.cost_usd, 1).tolist(), strict=True))
POLICIES = {
    "share": Policy(share=("0.5", "0.3", "0.2")),
    "share by posterior": Policy(share=("0.5", "0.3", "0.2"), rank_by="calibrated"),
    "threshold": Policy(threshold=(0.8, 0.4)),
    "agree": Policy(agree=2),
    "class-aware": Policy(class_aware={"link0": (TABLE.labels[0],)}),
    "spend": Policy(
        share=("0.5", "0.3", "0.2"),
        rank_by="calibrated",
        spend=Spend(USD, dict.fromkeys(CHAIN, 1.0), usd_per_item=2.5 * USD["link0"]),
    ),
}


class Memory:
    """Where links are loaded: how often, and how many at the same time."""

    def __init__(self):
        self.loads = []
        self.loaded = set()
        self.most = 0

    def load(self, name):
        """Load a link that isn't yet."""
        if name not in self.loaded:
            self.loads.append(name)
            self.loaded.add(name)
            self.most = max(self.most, len(self.loaded))


class Recorded:
    """A link that is loaded when it is asked, and has the votes of a panel."""

    def __init__(self, at, memory, dies_after=10**9):
        self.name = CHAIN[at]
        self.fingerprint = self.name.encode().ljust(16)
        self.capabilities = Capabilities("label_logprobs", batch=7)
        self._at, self._memory, self._left = at, memory, dies_after

    def render(self, item):
        """The text names the row."""
        return item.text

    def most(self, prompt):
        """More than any call costs."""
        return Usage(cost_usd=1e6)

    def ready(self):
        """Nothing is needed."""

    async def ask(self, prompts):
        """Load the link, and return its votes."""
        self._memory.load(self.name)
        await asyncio.sleep(0)
        self._left -= len(prompts)
        if self._left < 0:
            raise LinkError(f"link '{self.name}' is gone.")
        return [self._answer(int(prompt.split()[-1])) for prompt in prompts]

    async def close(self):
        """Free it."""
        self._memory.loaded.discard(self.name)

    def _answer(self, row):
        label, confidence = TABLE.label[self._at, row], TABLE.confidence[self._at, row]
        if label < 0:
            return Failure("missing", "no vote")
        usage = Usage(cost_usd=float(TABLE.cost_usd[self._at, row]))
        words = tuple(WORDS[self._at, row].tolist())
        return Vote(TABLE.labels[label], float(confidence), "label_logprobs", words, usage=usage)


def run_of(policy, schedule, out, dies_after=10**9):
    """Return a run of the panel's links, and where they are loaded."""
    memory = Memory()
    links = [{"name": name, "kind": "embedding"} for name in CHAIN]
    task = chain_task(*links, labels=TABLE.labels, schedule=schedule, data={"id": "id"})
    rule = RULE if policy.rank_by == "calibrated" else None
    task = msgspec.structs.replace(
        task, policy=policy, calibrated=rule, aggregate="calibrated" if rule else policy.usual_aggregate
    )
    run = Run(task, rows_of([f"text {row}" for row in range(N)]), out)
    run.links = [Recorded(at, memory, dies_after if at == 1 else 10**9) for at in range(3)]
    return run, memory


@pytest.mark.parametrize("name", POLICIES)
def test_the_labels_are_the_same(name, tmp_path):
    """For every policy the labels are byte for byte those of links that work together; each link is loaded once, alone."""
    pipelined, together = run_of(POLICIES[name], "pipelined", tmp_path / "p")
    pipelined.execute()
    sequential, alone = run_of(POLICIES[name], "sequential", tmp_path / "s")
    sequential.execute()
    assert label_bytes(tmp_path / "s") == label_bytes(tmp_path / "p")
    assert votes_in(tmp_path / "s") == votes_in(tmp_path / "p")
    assert together.most > 1
    assert alone.most == 1
    assert alone.loads == list(CHAIN)
    assert not alone.loaded


def test_a_cap_on_spending_goes_block_by_block(tmp_path, monkeypatch):
    """With several blocks of rows later links take turns, one loaded at a time, and the labels stay the same."""
    monkeypatch.setattr(spending, "__defaults__", (50,))
    pipelined, _ = run_of(POLICIES["spend"], "pipelined", tmp_path / "p")
    pipelined.execute()
    sequential, alone = run_of(POLICIES["spend"], "sequential", tmp_path / "s")
    sequential.execute()
    assert label_bytes(tmp_path / "s") == label_bytes(tmp_path / "p")
    assert alone.most == 1
    assert alone.loads == ["link0", *["link1", "link2"] * 3]


@pytest.mark.parametrize("name", ["share", "agree", "spend"])
def test_it_resumes(name, tmp_path):
    """A run whose link fails in the middle goes on where it was, buys nothing again, and has the same labels."""
    whole, _ = run_of(POLICIES[name], "sequential", tmp_path / "whole")
    whole.execute()
    broken, memory = run_of(POLICIES[name], "sequential", tmp_path / "r", dies_after=30)
    with pytest.raises(LinkError, match="link1"):
        broken.execute()
    assert not memory.loaded
    before = votes_in(tmp_path / "r")
    assert before["link0"] == N
    again, memory = run_of(POLICIES[name], "sequential", tmp_path / "r")
    again.execute()
    assert label_bytes(tmp_path / "r") == label_bytes(tmp_path / "whole")
    assert votes_in(tmp_path / "r") == votes_in(tmp_path / "whole")
    assert memory.loads == ["link1", "link2"]  # nothing is loaded that has nothing to do


def test_a_finished_first_link_may_go_on_pipelined(tmp_path):
    """The schedule is no part of what is decided: a finished run stays finished under the other one."""
    run, _ = run_of(POLICIES["share"], "sequential", tmp_path / "r")
    run.execute()
    other, memory = run_of(POLICIES["share"], "pipelined", tmp_path / "r")
    assert other.execute().did_nothing
    assert not memory.loads


def test_pilots(tmp_path):
    """A pilot asks one link after another, too."""
    run, memory = run_of(POLICIES["share"], "sequential", tmp_path / "r")
    run.ask(range(0, N, 3), CHAIN)
    assert votes_in(tmp_path / "r") == dict.fromkeys(CHAIN, N // 3)
    assert memory.loads == list(CHAIN)
    assert memory.most == 1


def test_it_stops(tmp_path):
    """A run that is stopped while later links wait ends at once, and nothing stays loaded."""
    run, memory = run_of(POLICIES["share"], "sequential", tmp_path / "r")
    load, memory.load = memory.load, lambda name: (load(name), signal.raise_signal(signal.SIGINT))
    with pytest.raises(StoppedError, match=r"stopped by Ctrl\+C"):
        run.execute()
    assert memory.loads == ["link0"]
    assert not memory.loaded


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
    reason="torch or transformers is not installed",
)
def test_models_that_do_not_fit_together(tmp_path, monkeypatch):
    """Of two local models one at a time is in memory: the first is gone when the second is loaded."""
    from catena.links.checkpoint import Checkpoint
    from tiny_models import byte_tokenizer, made_model

    folders = [made_model(kind, byte_tokenizer(), tmp_path / kind) for kind in ("Llama", "GPT2")]
    alive, most, weights = weakref.WeakSet(), [], Checkpoint.weights

    def counted(checkpoint):
        model = weights(checkpoint)
        alive.add(model)
        most.append(len(alive))
        return model

    monkeypatch.setattr(Checkpoint, "weights", counted)
    links = [{"name": folder.name, "kind": "transformers", "model": str(folder)} for folder in folders]
    rows = rows_of([f"Lovely weather {n}" for n in range(12)])
    for schedule in ("pipelined", "sequential"):
        most.clear()
        task = chain_task(*links, data={"id": "id"}, schedule=schedule)
        Run(task, rows, tmp_path / schedule).execute()
        assert most == ([1, 2] if schedule == "pipelined" else [1, 1])
        assert not alive
    assert label_bytes(tmp_path / "pipelined") == label_bytes(tmp_path / "sequential")
