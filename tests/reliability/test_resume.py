"""Whatever happened to a run's rows, task and process, it ends with the labels of a new run, and buys nothing twice."""

import contextlib
import os
import shutil
import signal
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from inprocess import books, install
from live import MOST_UNCOMMITTED
from soak import IN_MEMORY, SOAK, figure, many

from catena.engine.run import Run
from catena.errors import ChangedError, LinkError, StoppedError
from catena.ledger import FILE, Ledger
from catena.links import open_link
from catena.links.identity import vote_key
from chains import LABELS, chain_task, label_bytes, votes_in

SEQUENCES = many(20, 1000)
IN_FLIGHT = 8  # two links with four calls each
PROMPTS = ("What does it say?", "What is meant by it?", "Which?")
SHARES = (
    "share",
    {"share": ["0.2", "0.8"]},
    {"share": ["2/3", "1/3"]},
    {"share": ["0", "1"]},
)
COUNTS = {"sequences": 0, "refusals": 0, "kills": 0, "stops": 0}

texts = st.sampled_from(["", *(f"text {at}" for at in range(30))])
golds = st.sampled_from([None, *LABELS])
places = st.integers(0, 1 << 16)
calls = st.integers(1, 9)


class Resuming(RuleBasedStateMachine):
    """One run folder over time. The oracle is a run in an empty folder with the same task and rows."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="catena-resume-", dir=IN_MEMORY))
        self.out = self.folder / "run"
        self.task = {"instruction": PROMPTS[0], "policy": "share", "aggregate": "rank", "seed": 0}
        self.order = ["small", "big"]
        self.moods = {"small": 0, "big": 0}
        self.gold = False
        self.next_id = 0
        self.rows = []
        self.admitted = None
        books.bought = Counter()
        COUNTS["sequences"] += 1

    def teardown(self):
        """Leave nothing."""
        shutil.rmtree(self.folder)

    # -- what a user changes ------------------------------------------------------------------------------------

    @initialize(first=st.lists(st.tuples(texts, golds), min_size=5, max_size=25), gold=st.booleans())
    def begin(self, first, gold):
        """Start with some rows, with or without gold."""
        self.gold = gold
        for text, label in first:
            self._insert(len(self.rows), text, label)

    def _insert(self, at, text, gold):
        self.rows.insert(at % (len(self.rows) + 1), [f"i{self.next_id}", text, gold])
        self.next_id += 1

    @rule(at=places, text=texts, gold=golds)
    def insert(self, at, text, gold):
        """Add a row somewhere."""
        self._insert(at, text, gold)

    @rule(at=places, to=places)
    def duplicate(self, at, to):
        """Add a row with the text of another one."""
        self._insert(to, self.rows[at % len(self.rows)][1], None)

    @precondition(lambda self: len(self.rows) > 1)
    @rule(at=places)
    def delete(self, at):
        """Take a row out."""
        del self.rows[at % len(self.rows)]

    @rule(draw=st.randoms(use_true_random=False))
    def reorder(self, draw):
        """Shuffle the rows."""
        draw.shuffle(self.rows)

    @rule(at=places, text=texts)
    def edit(self, at, text):
        """Change the text of a row."""
        self.rows[at % len(self.rows)][1] = text

    @rule(at=places, gold=golds)
    def change_gold(self, at, gold):
        """Learn or unlearn a true label."""
        self.rows[at % len(self.rows)][2] = gold

    @rule()
    def name_gold(self):
        """Name the gold column in the task, or no longer."""
        self.gold = not self.gold

    @rule(prompt=st.sampled_from(PROMPTS))
    def edit_prompt(self, prompt):
        """Ask another question."""
        self.task["instruction"] = prompt

    @rule(name=st.sampled_from(["small", "big"]), mood=st.integers(0, 1))
    def change_link(self, name, mood):
        """Change a setting that shapes a link's votes."""
        self.moods[name] = mood

    @rule(
        policy=st.sampled_from(SHARES),
        aggregate=st.sampled_from(["rank", "last"]),
        seed=st.integers(0, 2),
        turn=st.booleans(),
    )
    def decide_otherwise(self, policy, aggregate, seed, turn):
        """Change what decides: shares, aggregate, seed, the order of the links."""
        self.task |= {"policy": policy, "aggregate": aggregate, "seed": seed}
        if turn:
            self.order.reverse()

    # -- what happens to the run --------------------------------------------------------------------------------

    @rule()
    def finish(self):
        """The run ends with the labels of a run in an empty folder, byte for byte."""
        self._go_on()
        mine, books.bought = books.bought, Counter()
        Run(self._task(), self._frame(), self.folder / "fresh").execute()
        books.bought = mine
        assert label_bytes(self.out) == label_bytes(self.folder / "fresh")
        shutil.rmtree(self.folder / "fresh")

    @rule(at=places, gold=golds)
    def finish_and_learn(self, at, gold):
        """Nothing but a true label changes after the run has ended."""
        self.finish()
        self.rows[at % len(self.rows)][2] = gold
        self.finish()

    @rule(policy=st.sampled_from(SHARES), aggregate=st.sampled_from(["rank", "last"]))
    def finish_and_decide_otherwise(self, policy, aggregate):
        """Nothing but the decision changes after the run has ended."""
        self.finish()
        self.task |= {"policy": policy, "aggregate": aggregate}
        self.finish()

    @rule(at=calls)
    def fail(self, at):
        """A link becomes unusable at some call."""

        def then():
            raise LinkError("it is gone.")

        COUNTS["stops"] += self._interrupted(at, then)

    @rule(at=calls)
    def interrupt(self, at):
        """Ctrl+C comes at some call."""
        COUNTS["stops"] += self._interrupted(at, lambda: os.kill(os.getpid(), signal.SIGINT))

    @rule(at=calls)
    def kill(self, at):
        """The process is killed at some call: what is left is what was on the disk at that moment."""
        copy = self.folder / "copy"

        def then():
            shutil.copytree(self.out, copy, ignore=shutil.ignore_patterns("*.new"))  # these come and go
            raise LinkError("it is gone.")

        if self._interrupted(at, then):
            COUNTS["kills"] += 1
            shutil.rmtree(self.out)
            copy.rename(self.out)
            self._forget_what_was_lost()

    def _interrupted(self, at, then):
        books.plan(at, then)
        try:
            self._go_on()
        except StoppedError:
            return True
        finally:
            books.plan(0, None)
        return False

    def _go_on(self):
        """Run the command; where something changed, see that it is refused and changes nothing, then add --update."""
        changed = self._changed()
        if changed:
            before = dump(self.out)
            with pytest.raises(ChangedError):
                Run(self._task(), self._frame(), self.out).execute()
            assert dump(self.out) == before
            COUNTS["refusals"] += 1
        self.admitted = self._asked()
        try:
            Run(self._task(), self._frame(), self.out).execute(update=changed)
        finally:
            assert not [key for key, times in books.bought.items() if times > 1]

    def _asked(self):
        """Return what must not change unnoticed; a gold column that the task does not name is a column like others."""
        golds = None if self.gold else [gold for _, _, gold in self.rows]
        return [row[:2] for row in self.rows], self.task["instruction"], golds, dict(self.moods)

    def _changed(self):
        if self.admitted is None:
            return False
        (rows, prompt, golds, moods), (old_rows, old_prompt, old_golds, old_moods) = (
            self._asked(),
            self.admitted,
        )
        votes = votes_in(self.out)
        return (
            (rows, prompt) != (old_rows, old_prompt)
            or (golds != old_golds and None not in (golds, old_golds))
            or any(mood != old_moods[name] and votes.get(name) for name, mood in moods.items())
        )

    def _task(self):
        chain = [{"name": name, "kind": "fake", "mood": self.moods[name]} for name in self.order]
        data = {"id": "id", "gold": "gold"} if self.gold else {"id": "id"}
        return chain_task(*chain, data=data, **self.task)

    def _frame(self):
        return pd.DataFrame(self.rows, columns=["id", "text", "gold"], dtype=object)

    def _forget_what_was_lost(self):
        """Take out of the books what the folder does not hold: it may be bought again, and is bounded."""
        ledger = Ledger(self.out)
        numbers = {
            open_link(spec, self._task()).fingerprint: ledger.links()[spec.name][0]
            for spec in self._task().chain
        }
        lost = []
        for fingerprint, prompt in books.bought:
            if fingerprint in numbers:
                key = vote_key(fingerprint, prompt)
                lost += [] if ledger.find(numbers[fingerprint], [key]) else [(fingerprint, prompt)]
        ledger.close()
        assert len(lost) <= IN_FLIGHT + MOST_UNCOMMITTED
        for each in lost:
            del books.bought[each]


def dump(out):
    """Return all that a run holds."""
    with contextlib.closing(sqlite3.connect(f"file:{out / FILE}?mode=ro", uri=True)) as ledger:
        labels = label_bytes(out) if (out / "labels.parquet").exists() else b""
        return list(ledger.iterdump()), labels


def test_resuming(monkeypatch):
    """Any sequence of changes, stops, kills and resumes; a change is refused first, and refusing changes nothing."""
    install(monkeypatch)
    run_state_machine_as_test(
        Resuming,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=many(12, 20),
            deadline=None,
            database=None,
            phases=(Phase.generate, *([Phase.shrink] if SOAK else [])),
            derandomize=not SOAK,
            suppress_health_check=list(HealthCheck),
        ),
    )
    figure(
        "resume",
        f"{', '.join(f'{count:,} {what}' for what, count in COUNTS.items())}; 0 divergences, 0 votes bought twice",
    )
