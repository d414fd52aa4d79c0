"""A link's own instruction, prompt and system message: for it alone, and votes are the ones they shaped."""

import pytest

from catena.data.rows import read_rows
from catena.engine.check import check_task
from catena.engine.run import Run
from catena.errors import ChangedError, TaskError
from catena.testing.provider import FakeProvider, Reply
from catena.types import Item
from chains import KINDS, LABELS, chain_task, execute, open_alone, openai, rows_of, texts, votes_in

kinds = pytest.mark.parametrize("kind", KINDS)
OFFLINE = FakeProvider()
EVERY = {"share": [0, 1]}


def opened(kind, task=None, **options):
    """Return a link that is never asked."""
    return open_alone(KINDS[kind](OFFLINE, **options), **(task or {}))


def system_of(question):
    """Return the system message of a request, in either protocol."""
    said = [one["content"] for one in question["messages"] if one["role"] == "system"]
    return question.get("system") or (said[0] if said else None)


@kinds
def test_each_link_is_asked_in_its_own_words(kind, tmp_path):
    """One link has a prompt of its own, the other the task's; each gets what is meant for it."""
    seen = {}

    def answer(request):
        seen.setdefault(request["model"], []).append(request["messages"][-1]["content"])
        return Reply("favor")

    with FakeProvider(answer, labels=list(LABELS)) as provider:
        chain = [
            KINDS[kind](provider, "small", prompt="Briefly: {{ text }} {{ question }}"),
            KINDS[kind](provider, "big", instruction="Is {{ mood }} said?"),
        ]
        task = chain_task(*chain, policy=EVERY, data={"id": "id"})
        execute(task, rows_of(["Good."], mood=["joy"]), tmp_path / "r")
    assert seen["small"] == ["Briefly: Good. What does it say?"]
    (asked,) = seen["big"]
    assert asked.startswith("Is joy said?\n")
    assert "<text>\nGood.\n</text>" in asked


@kinds
@pytest.mark.parametrize(("own", "said"), [(None, "Be brief."), ("Be kind.", "Be kind."), ("", None)])
def test_system_message(kind, own, said):
    """A link's own system message takes the place of the task's; an empty one takes it away."""
    link = opened(kind, {"system": "Be brief."}, **({} if own is None else {"system": own}))
    assert system_of(link.question("Hi")) == said


@kinds
def test_what_shapes_questions_shapes_votes(kind):
    """Own words are in the fingerprint; a link without any has the fingerprint that it always had."""
    ways = [{}, {"prompt": "{{ text }}"}, {"instruction": "Which?"}, {"system": "Be kind."}]
    assert len({opened(kind, **way).fingerprint for way in ways}) == len(ways)
    assert opened(kind, **ways[3]).fingerprint == opened(kind, {"system": "Be kind."}).fingerprint
    assert opened(kind, {"instruction": "What?"}).fingerprint == opened(kind).fingerprint


def test_a_changed_prompt_of_one_link_buys_its_votes_alone(tmp_path):
    """The run refuses it and says whose votes it is about; with --update the other link's are kept."""
    rows = rows_of(texts(6))

    def task(provider, prompt):
        chain = [openai(provider, "small"), openai(provider, "big", prompt=prompt)]
        return chain_task(*chain, policy=EVERY, data={"id": "id"})

    with FakeProvider(labels=list(LABELS)) as provider:
        execute(task(provider, "A: {{ text }}"), rows, tmp_path / "r")
        with pytest.raises(ChangedError, match="link 'big' has other settings"):
            Run(task(provider, "B: {{ text }}"), rows, tmp_path / "r").execute()
        Run(task(provider, "B: {{ text }}"), rows, tmp_path / "r").execute(update=True)
        asked = [call.model for call in provider.calls()]
    assert (asked.count("small"), asked.count("big")) == (6, 12)
    assert votes_in(tmp_path / "r") == {"small": 6, "big": 12}


@pytest.mark.parametrize("more", [{}, {"confidence": "verbalised"}, {"codes": True}], ids=str)
@pytest.mark.parametrize("key", ["instruction", "prompt"])
@pytest.mark.parametrize(
    ("template", "fault"), [("{{ tweet }}", "tweet, which is no column"), ("{{", "not a valid template")]
)
def test_a_wrong_template_is_refused_with_the_links_name(key, template, fault, more, tmp_path):
    """Before anything is asked; the line says whose template it is."""
    with FakeProvider(labels=list(LABELS)) as provider:
        with pytest.raises(TaskError, match=f"link 'small': {key}: .*{fault}"):
            Run(chain_task(openai(provider, **{key: template}, **more)), rows_of(["a"]), tmp_path / "r")
        assert not provider.calls()


def test_check_knows_the_columns_of_own_templates():
    """Without data, the made-up row has the columns that a link's own template names; with data, they must be there."""
    with FakeProvider(labels=list(LABELS)) as provider:
        task = chain_task(openai(provider, prompt="{{ mood }}: {{ text }}"))
        assert check_task(task, None)["links"][0]["answered"]
        with pytest.raises(TaskError, match="mood, which is no column"):
            check_task(task, read_rows(rows_of(["a"]), task.data, task.labels))


def test_the_text_stays_in_its_fence():
    """The filter is there for a link's own prompt as for the task's."""
    link = opened("openai", prompt="<text>{{ text | fence }}</text>")
    assert link.render(Item(0, "1", "a</text> b")).count("</text") == 1
