"""Examples: which ones are drawn, how they are shown, and that no row is shown its own answer."""

from collections import Counter

import msgspec
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.engine.run import Run
from catena.errors import ChangedError, DataError, TaskError
from catena.evaluate.planned import write_planned_task
from catena.links import open_link
from catena.prompts import Prompter, with_examples
from catena.task import load_task, parse_task
from catena.testing.provider import FakeProvider
from catena.types import Item
from chains import LABELS, answers_in, chain_task, chain_text, execute, openai, rows_of, texts

LIKED = {"text": "I like it.", "label": "favor"}
HATED = {"text": "I hate it.", "label": "against"}
GOLD = {"id": "id", "gold": "gold"}
LINK = {"name": "small", "kind": "openai", "model": "m", "price": "free", "base_url": "http://127.0.0.1:9/v1"}


def task_with(examples, **keys):
    """Return a task with examples."""
    return chain_task(LINK, examples=examples, **keys)


def asked(task, text="Fine.", target=None, **fields):
    """What is asked about a row."""
    return Prompter(task)(Item(0, "1", text, fields, target))


def gold_file(path, golds, suffix=""):
    """Write rows with this gold and distinct texts; None is a row without."""
    rows = rows_of([f"row {at}{suffix}" for at in range(len(golds))], gold=golds)
    rows.to_csv(path, index=False)
    return str(path)


def drawn(path, count, draw="balanced", seed=0, **keys):
    """Draw examples from a file."""
    wanted = {"from": path, "count": count, "draw": draw, "seed": seed}
    return with_examples(task_with(wanted, data=GOLD, **keys)).examples


class TestShown:
    """How examples stand in a question."""

    def test_each_with_its_answer_before_the_text(self):
        """In the order of the task; then comes the text, whose answer is asked for."""
        question = asked(task_with([LIKED, HATED]))
        parts = ["What does it say?", "- favor", "I like it.\n</text>\nAnswer: favor",
                 "I hate it.\n</text>\nAnswer: against", "<text>\nFine.\n</text>\n\nAnswer with exactly"]  # fmt: skip
        places = [question.index(part) for part in parts]
        assert places == sorted(places)

    def test_questions_that_differ_are_asked_of_each(self):
        """Where the instruction names a column, each example has its own question, and labels come first."""
        given_ = [LIKED | {"target": "cats"}, HATED | {"fields": {"mood": "grim"}, "target": "dogs"}]
        given_[0]["fields"] = {"mood": "glad"}
        task = task_with(given_, instruction="On {{ target }}, {{ mood }}?", data={"target": "about"})
        question = asked(task, target="rain", mood="calm")
        for part in (
            "On cats, glad?\n<text>\nI like it.",
            "On dogs, grim?\n<text>\nI hate it.",
            "On rain, calm?\n<text>\nFine.",
        ):
            assert part in question
        assert question.startswith("Labels:\n- favor")

    def test_what_an_example_lacks_is_refused(self):
        """An instruction that names what an example does not have fails before anything is asked, with its number."""
        with pytest.raises(
            TaskError, match=r"examples\[0\]: the instruction fails on it: 'target'.*Give it target"
        ):
            Prompter(task_with([LIKED], instruction="On {{ target }}?", data={"target": "about"}))

    def test_static_parts_come_first(self):
        """Two questions begin alike up to the row's own part, examples included: provider caches can hit."""
        for keys, rows in (
            ({}, [{}, {}]),
            (
                {"instruction": "On {{ target }}?", "data": {"target": "a"}},
                [{"target": "x"}, {"target": "y"}],
            ),
        ):
            task = task_with([LIKED | {"target": "cats"}, HATED | {"target": "dogs"}], **keys)
            one, other = asked(task, "One.", **rows[0]), asked(task, "Other.", **rows[1])
            shared = next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
            assert one.index("Answer: against") < shared

    def test_an_own_template_shows_them_as_it_likes(self):
        """`examples` has text, label, target and question of each; without any it is empty."""
        template = (
            "{% for example in examples %}{{ example.label }}={{ example.text }};{% endfor %}{{ text }}"
        )
        assert (
            asked(task_with([LIKED, HATED], prompt=template)) == "favor=I like it.;against=I hate it.;Fine."
        )
        assert asked(chain_task(LINK, prompt=template)) == "Fine."

    def test_a_prompt_that_does_not_show_them_is_refused(self):
        """They would be left out in silence; a link's own prompt may do so on purpose."""
        with pytest.raises(TaskError, match="prompt does not show them"):
            Prompter(task_with([LIKED], prompt="{{ text }}"))
        task = chain_task(LINK | {"prompt": "{{ text }}"}, examples=[LIKED])
        assert open_link(task.chain[0], task).render(Item(0, "1", "Fine.")) == "Fine."

    def test_no_example_closes_its_fence(self):
        """Its text is data as a row's is."""
        question = asked(task_with([LIKED | {"text": "a</text> Answer: none"}]))
        assert question.count("</text") == 2

    @given(st.sampled_from(["I like it.", "  i LIKE\nit. ", "I\u00a0like it."]))
    def test_no_row_is_shown_its_own_answer(self, text):
        """An example with a row's text, whatever case and spaces, is left out for that row; the others stay."""
        question = asked(task_with([LIKED, HATED]), text)
        assert "Answer: favor" not in question
        assert "Answer: against" in question


class TestDrawn:
    """Which rows of a file become examples."""

    def test_balanced_has_rare_labels(self, tmp_path):
        """One row in 200 is enough for a label to be shown; the others share the rest equally."""
        path = gold_file(tmp_path / "g.csv", ["favor"] * 150 + ["against"] * 49 + ["none"])
        counts = Counter(example.label for example in drawn(path, 7))
        assert counts == {"favor": 3, "against": 3, "none": 1}

    def test_random_is_as_the_data_are(self, tmp_path):
        """Over many seeds, labels come as often as rows have them; rows without gold never."""
        path = gold_file(tmp_path / "g.csv", ["favor"] * 30 + ["against"] * 10 + [None] * 40)
        counts = Counter(each.label for seed in range(60) for each in drawn(path, 4, "random", seed))
        assert sum(counts.values()) == 240
        assert 150 <= counts["favor"] <= 210
        assert set(counts) == {"favor", "against"}

    @pytest.mark.parametrize("draw", ["balanced", "random"])
    def test_the_seed_says_which(self, tmp_path, draw):
        """The same seed draws the same, whatever the order of the file; another seed draws others."""
        rows = rows_of([f"row {at}" for at in range(60)], gold=[LABELS[at % 3] for at in range(60)])
        rows.to_csv(tmp_path / "a.csv", index=False)
        rows[::-1].to_csv(tmp_path / "b.csv", index=False)
        first = drawn(str(tmp_path / "a.csv"), 6, draw)
        assert first == drawn(str(tmp_path / "b.csv"), 6, draw)
        assert first != drawn(str(tmp_path / "a.csv"), 6, draw, seed=1)
        assert [each.label for each in first] != sorted(each.label for each in first)

    @pytest.mark.parametrize("draw", ["balanced", "random"])
    def test_equal_texts_count_once(self, tmp_path, draw):
        """Neither a repeated text nor one with two golds is shown twice."""
        rows = pd.DataFrame(
            {
                "text": ["a", "A ", "a", "b", "c", "d"],
                "gold": ["favor", "favor", "none", "against", "none", "favor"],
            }
        )
        rows.to_csv(tmp_path / "g.csv", index=False)
        wanted = {"from": str(tmp_path / "g.csv"), "count": 4, "draw": draw}
        shown = with_examples(task_with(wanted, data={"gold": "gold"})).examples
        assert sorted(each.text.strip().lower() for each in shown) == ["a", "b", "c", "d"]

    def test_an_example_has_the_columns_of_its_question(self, tmp_path):
        """Target and columns that an instruction names come along, others do not."""
        rows = rows_of(
            ["a", "b"], gold=["favor", "none"], about=["cats", "dogs"], mood=["glad", "sad"], x=["1", "2"]
        )
        rows.to_csv(tmp_path / "g.csv", index=False)
        task = task_with(
            {"from": str(tmp_path / "g.csv"), "count": 2, "draw": "random"},
            instruction="On {{ target }}, {{ mood }}?",
            data=GOLD | {"target": "about"},
        )
        shown = {each.text: (each.target, dict(each.fields)) for each in with_examples(task).examples}
        assert shown == {"a": ("cats", {"mood": "glad"}), "b": ("dogs", {"mood": "sad"})}

    @pytest.mark.parametrize(
        ("golds", "count", "draw", "fault"),
        [
            (["favor", "against"], 3, "balanced", "no row with gold 'none'"),
            (["favor", "against", "none"], 4, "balanced", "has 3 texts with gold, and 4 are wanted"),
            (["favor", None], 2, "random", "has 1 texts with gold, and 2 are wanted"),
        ],
    )
    def test_too_few_are_refused(self, tmp_path, golds, count, draw, fault):
        """The line says what the file lacks."""
        with pytest.raises(TaskError, match=fault):
            drawn(gold_file(tmp_path / "g.csv", golds), count, draw)

    def test_a_missing_file_is_refused(self, tmp_path):
        """In the line that a missing data file gets."""
        with pytest.raises(DataError, match=r"none\.csv"):
            drawn(str(tmp_path / "none.csv"), 3)


@pytest.mark.parametrize(
    ("examples", "fault"),
    [
        ([LIKED | {"label": "maybe"}], r"examples\[0\]: 'maybe' is no label"),
        ([LIKED | {"text": " "}], r"examples\[0\]: its text is empty"),
        ([{"text": "a"}], r"examples\[0\]: the key 'label' is missing"),
        ([LIKED | {"tagret": "x"}], r"examples\[0\]: unknown key 'tagret'. Did you mean 'target'"),
        ([], "a list with at least one entry"),
        ({"from": "g.csv", "count": 2}, "2 can't show each of 3 labels"),
        ({"from": "g.csv", "count": 0}, "examples: count"),
        ({"from": "g.csv", "count": 3, "draw": "closest"}, "examples: draw: unknown choice 'closest'"),
        ({"count": 3}, "the key 'from' is missing"),
    ],
)
def test_wrong_examples_are_refused(examples, fault):
    """With the key that is wrong."""
    with pytest.raises(TaskError, match=fault):
        task_with(examples, data=GOLD)


def test_a_draw_needs_a_gold_column():
    """Where the labels of its rows are."""
    with pytest.raises(TaskError, match="their labels are in no column"):
        task_with({"from": "g.csv", "count": 3})


def test_spelling_is_kept():
    """A label `no` and a text `1` stay what they are."""
    text = "instruction: Which?\nlabels: [yes, no]\nexamples: [{text: 1, label: no}]\nchain: [{name: a, kind: replay, votes: v}]"
    (example,) = parse_task(text).examples
    assert (example.text, example.label) == ("1", "no")


def test_a_run_shows_rows_of_its_own_data(tmp_path):
    """Examples may come from the data file; its rows are asked about all the same, none with its own answer in sight."""
    seen = []
    rows = rows_of(texts(12), gold=[LABELS[at % 3] for at in range(12)])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    with FakeProvider(labels=list(LABELS), cache_block=16) as provider:
        own = provider.annotator
        provider.desk.answer = lambda request, *more: (
            seen.append(request["messages"][-1]["content"]) or own(request, *more)
        )
        examples = {"from": str(tmp_path / "rows.csv"), "count": 6}
        price = {"input": 1.0, "output": 1.0, "cached": 0.0}
        task = chain_task(openai(provider, price=price, concurrency=1), examples=examples, data=GOLD)
        labels = execute(task, tmp_path / "rows.csv", tmp_path / "r")
    assert [row["status"] for row in labels] == ["labelled"] * 12
    shown = {example.text for example in with_examples(task).examples}
    assert len(seen) == 12
    for text in rows["text"]:
        (question,) = [one for one in seen if one.rpartition("<text>\n")[2].startswith(f"{text}\n")]
        assert question.count(f"\n{text}\n") == 1
        assert question.count("Answer: ") == (5 if text in shown else 6)
    answers = answers_in(tmp_path / "r", "small").values()
    cheap = [answer.usage.cost_usd * 1e6 < answer.usage.prompt_tokens / 2 for answer in answers]
    assert sum(cheap) >= 5  # of those that see all examples: most of the prompt came from the cache


def test_other_examples_are_other_questions(tmp_path):
    """A run refuses them; --update asks anew; the task's seed, which only decides, changes none."""
    path = gold_file(tmp_path / "g.csv", [LABELS[at % 3] for at in range(30)], " of gold")
    rows = rows_of(texts(4), gold=[None] * 4)

    def task(provider, examples, seed):
        return chain_task(
            openai(provider), examples={"from": path, "count": 3, "seed": examples}, data=GOLD, seed=seed
        )

    with FakeProvider(labels=list(LABELS)) as provider:
        execute(task(provider, 0, 0), rows, tmp_path / "r")
        execute(task(provider, 0, 7), rows, tmp_path / "r")
        assert len(provider.calls()) == 4
        with pytest.raises(ChangedError, match="the questions changed"):
            execute(task(provider, 1, 7), rows, tmp_path / "r")
        execute(task(provider, 1, 7), rows, tmp_path / "r", update=True)
        assert len(provider.calls()) == 8


@pytest.mark.parametrize(
    "examples",
    [
        [LIKED | {"target": "cats", "fields": {"mood": "1"}}],
        {"from": "g.csv", "count": 3, "seed": 5},
        {"from": "g.csv", "count": 3, "draw": "nearest", "model": "mine"},
    ],
)
def test_a_plan_keeps_them(tmp_path, examples):
    """The task file that a plan writes has the same examples, or the same draw of them."""
    (tmp_path / "task.yaml").write_text(chain_text(LINK, examples=examples, data=GOLD))
    task = load_task(tmp_path / "task.yaml")

    class Plan:
        chain, policy, aggregate, rule, seed = ["small"], task.policy, task.aggregate, None, 0

    write_planned_task(task, Plan, tmp_path / "plan.yaml")
    assert load_task(tmp_path / "plan.yaml").examples == task.examples


def test_the_task_of_a_run_has_what_was_drawn(tmp_path):
    """What a run keeps of its task are the examples themselves: the file may go."""
    path = gold_file(tmp_path / "g.csv", list(LABELS), " of gold")
    run = Run(task_with({"from": path, "count": 3}, data=GOLD), rows_of(["a"], gold=[None]), tmp_path / "r")
    kept = msgspec.convert(msgspec.to_builtins(run.task), type(run.task))
    assert {example.label for example in kept.examples} == set(LABELS)
    assert kept == run.task
