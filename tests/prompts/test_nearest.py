"""Examples chosen for each row: similar ones of every label, never its own text, the same ones each time."""

import importlib.util
from collections import Counter

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.engine.run import Run, task_of
from catena.errors import ChangedError, DataError, LinkError, TaskError
from catena.ledger import Ledger
from catena.links import open_link
from catena.prompts import Prompter, examples_key, with_examples
from catena.prompts.nearest import Neighbours
from catena.testing.provider import FakeProvider
from catena.types import Item
from catena.vectors.minilm import PACKAGE
from chains import LABELS, chain_task, execute, openai, rows_of

GOLD = {"id": "id", "gold": "gold"}
LINK = {"name": "small", "kind": "openai", "model": "m", "price": "free", "base_url": "http://127.0.0.1:9/v1"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"

needs_weights = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in (PACKAGE, "safetensors", "tokenizers")),
    reason=f"{PACKAGE}, safetensors or tokenizers is not installed",
)


def letters(texts):
    """Return vectors by which texts are alike that have the same letters as often."""
    counts = np.array([[text.casefold().count(letter) for letter in LETTERS] for text in texts], np.float32)
    counts += 1e-3
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def by_letters(monkeypatch):
    """Compare texts by their letters; a test of the encoder itself undoes it."""
    monkeypatch.setattr("catena.prompts.nearest.encoder", lambda model, where: model)
    monkeypatch.setattr("catena.prompts.nearest.encode", lambda by, texts, alone=True: letters(texts))


def pool(path, rows, **columns):
    """Write rows with gold, given as text -> label, and return the file's name."""
    rows_of(rows, gold=list(rows.values()), **columns).to_csv(path, index=False)
    return str(path)


def task_of_nearest(path, count, seed=0, **keys):
    """Return a task whose examples are the nearest of a file."""
    wanted = {"from": path, "count": count, "draw": "nearest", "seed": seed}
    return chain_task(*keys.pop("chain", [LINK]), examples=wanted, data=keys.pop("data", GOLD), **keys)


def shown(task, text="aab", target=None, **fields):
    """Return text and label of the examples beside a row, in their order."""
    template = "{% for each in examples %}{{ each.text }}={{ each.label }};{% endfor %}{{ text }}"
    question = Prompter(msgspec.structs.replace(task, prompt=template))(Item(0, "1", text, fields, target))
    return [tuple(each.split("=")) for each in question.split(";")[:-1]]


SIMPLE = {
    "aaab": "favor",
    "aabb": "favor",
    "zzzz": "favor",
    "ab": "against",
    "yyyy": "against",
    "aaz": "none",
    "xxxx": "none",
}


def test_each_label_shows_its_most_similar_rows(tmp_path):
    """As many of each, the most similar one of all last, beside the text itself."""
    task = task_of_nearest(pool(tmp_path / "g.csv", SIMPLE), 3)
    found = shown(task, "aab")
    assert set(found) == {("aaab", "favor"), ("ab", "against"), ("aaz", "none")}
    similarity = letters([text for text, _ in found]) @ letters(["aab"])[0]
    assert list(similarity) == sorted(similarity)


def test_a_count_that_does_not_part_evenly_takes_the_most_similar(tmp_path):
    """One more example is the best of what comes next, whatever its label."""
    task = task_of_nearest(pool(tmp_path / "g.csv", SIMPLE), 4)
    assert Counter(label for _, label in shown(task, "aab"))["favor"] == 2
    assert Counter(label for _, label in shown(task, "zzzx"))["none"] == 2
    assert ("zzzz", "favor") in shown(task, "zzzx")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(LABELS), min_size=12, max_size=30),
    st.integers(3, 8),
    st.text("abcz", min_size=1, max_size=5),
)
def test_rare_labels_are_there(tmp_path_factory, labels, count, text):
    """Every label has its equal share, or all its rows where it has fewer; together they are as many as wanted."""
    labels = [*LABELS, *labels]
    rows = {f"{text}{'ab' * at} {at}": label for at, label in enumerate(labels)}
    path = pool(tmp_path_factory.mktemp("pool") / "g.csv", rows)
    found = shown(task_of_nearest(path, count), text)
    counts, there = Counter(label for _, label in found), Counter(labels)
    assert len(set(found)) == len(found) == count
    assert all(counts[label] >= min(count // len(LABELS), there[label]) for label in LABELS)


def test_no_row_is_shown_its_own_answer(tmp_path):
    """Whatever case and spaces its text has; the next nearest one takes the place."""
    task = task_of_nearest(pool(tmp_path / "g.csv", SIMPLE), 3)
    found = shown(task, " AAAB ")
    assert "aaab" not in dict(found)
    assert len(found) == 3
    assert ("aabb", "favor") in found


def test_the_order_of_the_file_changes_nothing(tmp_path):
    """Nor does a second prompter: the same rows have the same questions."""
    rows = {f"{'ab' * at}{'c' * (at % 5)} {at}": LABELS[at % 3] for at in range(40)}
    one = task_of_nearest(pool(tmp_path / "a.csv", rows), 7)
    other = task_of_nearest(pool(tmp_path / "b.csv", dict(reversed(rows.items()))), 7)
    for text in ("abab", "c", "abcabc", "zz"):
        assert shown(one, text) == shown(other, text) == shown(one, text)
    assert examples_key(one) == examples_key(other)


def test_a_target_is_compared_too(tmp_path):
    """What is asked about is part of what a row is about."""
    path = pool(tmp_path / "g.csv", {"aaa": "favor", "aaA b": "against", "aa": "none", "a": "favor"},
                about=["zzzz", "qq", "qqqqqqqq", "q"])  # fmt: skip
    task = task_of_nearest(path, 1, data=GOLD | {"target": "about"})
    assert shown(task, "aaaa", "zzzz") == [("aaa", "favor")]
    assert shown(task, "aaaa", "qqqq") == [("a", "favor")]


def test_of_a_large_file_a_balanced_draw_is_compared(tmp_path, monkeypatch):
    """Of each label as many as there is room for, drawn by the seed; rare ones are all there."""
    monkeypatch.setattr("catena.prompts.nearest.MOST", 30)
    rows = {f"row {at}": "favor" if at % 20 else "none" for at in range(200)} | {"rare": "against"}
    path = pool(tmp_path / "g.csv", rows)
    found = [Neighbours(task_of_nearest(path, 3, seed)) for seed in (0, 0, 1)]
    counts = Counter(example.label for example in found[0].examples)
    assert counts == {"favor": 10, "none": 10, "against": 1}
    assert found[0].digest == found[1].digest != found[2].digest


def test_static_parts_come_first(tmp_path):
    """Instruction and labels stand before the first example, so that a provider's cache hits on every row."""
    task = task_of_nearest(pool(tmp_path / "g.csv", SIMPLE), 3)
    prompter = Prompter(task)
    questions = [prompter(Item(0, "1", text)) for text in ("aab", "zzzz", "xy")]
    assert len({question.count("Answer: ") for question in questions} - {3}) == 0
    assert all(question.startswith(prompter.static) for question in questions)
    assert "- against" in prompter.static
    assert "<text>" not in prompter.static.replace("<text>\n", "", 1)


def test_questions_that_differ_are_asked_of_each(tmp_path):
    """A chosen example brings its target, and what its own question needs."""
    path = pool(tmp_path / "g.csv", SIMPLE, about=list("tuvwxyz"), mood=list("ABCDEFG"))
    task = task_of_nearest(
        path, 3, instruction="On {{ target }}, {{ mood }}?", data=GOLD | {"target": "about"}
    )
    question = Prompter(task)(Item(0, "1", "aab", {"mood": "calm"}, "rain"))
    assert "On t, A?\n<text>\naaab" in question
    assert "On rain, calm?\n<text>\naab" in question


@pytest.mark.parametrize(
    ("rows", "count", "fault"),
    [
        ({"a": "favor", "b": "against"}, 3, "no row with gold 'none'"),
        ({"a": "favor", "b": "against", "c": "none"}, 3, "has 3 texts with gold, too few to choose 3 from"),
    ],
)
def test_too_few_are_refused(tmp_path, rows, count, fault):
    """Before anything is asked, with what the file lacks."""
    with pytest.raises(TaskError, match=fault):
        with_examples(task_of_nearest(pool(tmp_path / "g.csv", rows), count))


def test_fewer_than_labels_may_be_shown(tmp_path):
    """With many labels a few examples are the most similar ones, each of another label."""
    found = shown(task_of_nearest(pool(tmp_path / "g.csv", SIMPLE), 2), "aab")
    assert len({label for _, label in found}) == 2


def test_a_missing_file_is_refused(tmp_path):
    """When the run is made; a link alone can be built without it, as for looking at a finished run."""
    task = task_of_nearest(str(tmp_path / "none.csv"), 3)
    with pytest.raises(DataError, match=r"none\.csv"):
        Run(task, rows_of(["a"], gold=[None]), tmp_path / "r")
    assert open_link(task.chain[0], task).name == "small"


def test_a_prompt_that_does_not_show_them_is_refused(tmp_path):
    """They would be chosen for nothing."""
    path = pool(tmp_path / "g.csv", SIMPLE)
    with pytest.raises(TaskError, match="prompt does not show them"):
        Prompter(task_of_nearest(path, 3, prompt="{{ text }}"))


def test_another_encoder_needs_its_package(tmp_path, monkeypatch):
    """In the line that an embedding link has for it."""
    monkeypatch.undo()
    path = pool(tmp_path / "g.csv", SIMPLE)
    wanted = {"from": path, "count": 3, "draw": "nearest", "model": "no/such-model"}
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(LinkError, match=r"examples: model 'no/such-model' needs sentence-transformers"):
        Prompter(chain_task(LINK, examples=wanted, data=GOLD))(Item(0, "1", "a"))


def test_a_run_asks_what_changed_alone(tmp_path):
    """Votes follow the question: a row more to choose from asks anew where it is chosen, and a run says that it changed."""
    path = pool(tmp_path / "g.csv", SIMPLE)
    rows = rows_of(["aab", "zzzx", "yyyx"], gold=[None] * 3)
    with FakeProvider(labels=list(LABELS)) as provider:
        task = task_of_nearest(path, 3, chain=[openai(provider)])
        execute(task, rows, tmp_path / "r")
        execute(task, rows, tmp_path / "r")
        assert len(provider.calls()) == 3
        ledger = Ledger(tmp_path / "r")
        kept = task_of(ledger)
        ledger.close()
        assert kept.examples == task.examples
        pool(path, SIMPLE | {"aabz b": "none"})
        with pytest.raises(ChangedError, match="the questions changed"):
            execute(task, rows, tmp_path / "r")
        execute(task, rows, tmp_path / "r", update=True)
        assert len(provider.calls()) == 4


def test_a_run_may_choose_from_its_own_rows(tmp_path):
    """Each row is labelled, none with its own answer in sight, and the cache serves what they share."""
    texts = {f"{'ab' * (at % 7)}{'c' * (at % 5)} number {at}": LABELS[at % 3] for at in range(12)}
    path = pool(tmp_path / "rows.csv", texts)
    seen = []
    with FakeProvider(labels=list(LABELS), cache_block=4) as provider:
        own = provider.annotator
        provider.desk.answer = lambda request, *more: (
            seen.append(request["messages"][-1]["content"]) or own(request, *more)
        )
        price = {"input": 1.0, "output": 1.0, "cached": 0.0}
        task = task_of_nearest(path, 6, chain=[openai(provider, price=price, concurrency=1)])
        labels = execute(task, path, tmp_path / "r")
    assert [row["status"] for row in labels] == ["labelled"] * 12
    for text in texts:
        (question,) = [one for one in seen if one.rpartition("<text>\n")[2].startswith(f"{text}\n")]
        assert question.count(f"\n{text}\n") == 1
        assert question.count("Answer: ") == 6


@needs_weights
def test_texts_that_mean_alike_are_near(tmp_path, monkeypatch):
    """The built-in encoder knows that a burst pipe is about water, in other words than the examples'."""
    monkeypatch.undo()
    texts = {
        "The bins were not emptied this week.": "favor",
        "My tap has been leaking for days.": "favor",
        "There is rubbish all over the park.": "against",
        "The water pressure is far too low.": "against",
        "Please collect the litter on our street.": "none",
        "A pipe under the road is broken.": "none",
    }
    task = task_of_nearest(pool(tmp_path / "g.csv", texts), 3)
    about_water = {text for text, _ in shown(task, "There is a flood because the main burst.")}
    assert about_water == {text for text in texts if any(word in text for word in ("tap", "water", "pipe"))}


def test_a_frame_is_labelled_with_them(tmp_path):
    """From Python too."""
    import catena

    path = pool(tmp_path / "g.csv", SIMPLE)
    frame = pd.DataFrame({"id": ["1"], "text": ["aab"], "gold": [None]})
    with FakeProvider(labels=list(LABELS)) as provider:
        labelled = catena.annotate(
            frame, task_of_nearest(path, 3, chain=[openai(provider)]), out=tmp_path / "r"
        )
    assert labelled["label"].notna().all()
