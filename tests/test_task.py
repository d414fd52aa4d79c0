"""The task file: what is refused and how, what keeps its spelling, and that nothing else can happen."""

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.errors import TaskError
from catena.task import TaskSpec, load_task, parse_task

GOOD = {
    "name": "t",
    "instruction": "Which?",
    "labels": "{a: first, b: second}",
    "data": "{text: tweet, id: id}",
    "chain": "[{name: one, kind: replay, votes: v}, {name: two, kind: openai, model: m}]",
    "policy": "share",
    "aggregate": "rank",
    "seed": "1",
}
FUZZ = settings(max_examples=int(os.environ.get("CATENA_FUZZ", "300")), deadline=None)


def text(**changed):
    """A task file with some values changed; None takes a key out."""
    return "\n".join(f"{key}: {value}" for key, value in (GOOD | changed).items() if value is not None)


def refusal(given_text):
    """The one line with which a text is refused."""
    with pytest.raises(TaskError) as caught:
        parse_task(given_text, "f.yaml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("f.yaml: ")
    return str(caught.value).removeprefix("f.yaml: ")


def test_a_good_file_is_read():
    """Every key arrives."""
    task = parse_task(
        text(policy="{share: [0.75, 1/4]}", aggregate="last", prompt="p", system="s", max_chars="9")
    )
    assert (task.name, task.instruction, task.seed, task.aggregate) == ("t", "Which?", 1, "last")
    assert (task.prompt, task.system, task.max_chars) == ("p", "s", 9)
    assert dict(task.labels) == {"a": "first", "b": "second"}
    assert (task.data.text, task.data.id, task.data.target) == ("tweet", "id", None)
    assert [(spec.name, spec.kind, spec.options) for spec in task.chain][1] == (
        "two",
        "openai",
        {"model": "m"},
    )
    assert task.policy.share == ("0.75", "1/4")


@pytest.mark.parametrize(
    ("changed", "key", "fix"),
    [
        ({"agregate": "last"}, "agregate", "Did you mean 'aggregate'?"),
        ({"xyz": "1"}, "xyz", "Known keys: instruction, labels"),
        ({"data": "{txt: tweet}"}, "data: unknown key 'txt'", "Did you mean 'text'?"),
        ({"data": "[tweet]"}, "data", "expected a mapping"),
        ({"data": "{text: 1}"}, "data.text", "Put it in quotes."),
        ({"data": "{1: x}"}, "data", "put it in quotes"),
        ({"instruction": None}, "'instruction'", "is missing"),
        ({"instruction": "''"}, "instruction", "expected text that is not empty"),
        ({"instruction": "yes"}, "instruction", "Put it in quotes."),
        ({"labels": None}, "'labels'", "is missing"),
        ({"labels": "[a]"}, "labels", "at least two different labels"),
        ({"labels": "[a, a]"}, "labels", "'a' is there twice"),
        ({"labels": "[a, A]"}, "labels", "rename one"),
        ({"labels": "[a, ' ']"}, "labels", "is empty"),
        ({"labels": "{a: [x], b: y}"}, "labels", "expected text or nothing"),
        ({"chain": None}, "'chain'", "is missing"),
        ({"chain": "[]"}, "chain", "expected a list with at least one entry"),
        ({"chain": "[{kind: replay}]"}, "chain[0]", "'name' is missing"),
        ({"chain": "[{name: a}]"}, "chain[0]", "'kind' is missing"),
        ({"chain": "[{name: a, kind: b}, {name: a, kind: b}]"}, "chain[1]", "a name of its own"),
        ({"chain": "[{name: a b, kind: b}]"}, "chain[0]: name", "can't contain spaces, commas or slashes"),
        ({"name": '"a\\n"'}, "name", "can't contain spaces, commas or slashes"),
        ({"policy": "{keep: [1, 1]}"}, "policy", "Write policy: share"),
        ({"policy": "threshold"}, "policy", "Write policy: share"),
        ({"policy": "{share: [1]}"}, "policy.share", "1 shares for 2 links"),
        ({"aggregate": "vote"}, "aggregate", "Write aggregate: rank, or aggregate: last."),
        ({"aggregate": "no"}, "aggregate", "Write aggregate: rank, or aggregate: last."),
        ({"seed": "x"}, "seed", "expected a whole number, got text"),
        ({"seed": "1" + "0" * 30}, "seed", "<= 9223372036854775807"),
        ({"max_chars": "0"}, "max_chars", ">= 1"),
        ({"prompt": "[x]"}, "prompt", "expected text or nothing"),
    ],
)
def test_a_wrong_key_is_named_with_its_fix(changed, key, fix):
    """The line says which key, and what may stand there or what to do."""
    line = refusal(text(**changed))
    assert key in line
    assert fix in line


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty. Write one with: catena init DATA"),
        ("# only this", "is empty"),
        ("- a", "not a list"),
        ("a word", "not a str"),
        ("a: [", "line 1: not valid YAML"),
        ("a: b\n--- x", "line 2: not valid YAML"),
        ("a: b\n\x00", "not valid YAML"),
        ("? [a]\n: b", "line 1: a key must be a plain word"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ('labels: ["\\ud83d", b]', "line 1: an escape is half a character"),
    ],
)
def test_what_is_no_task_file_is_refused(content, says):
    """With the line where there is one."""
    assert says in refusal(content)


@pytest.mark.parametrize(
    "value", ["!!int ''", "!!float x", "!!bool x", "!!timestamp x", "!!binary '@'", "!!omap [1]", "!!int 0x"]
)
def test_a_wrong_scalar_after_a_tag_is_refused(value):
    """Whatever the YAML reader raises."""
    assert refusal(text(seed=value))


@pytest.mark.parametrize(
    "word", ["yes", "no", "none", "null", "~", "1", "1.0", "0x1", "1e3", "on", "2020-01-01", "true", "="]
)
class TestSpelling:
    """What stands under labels and examples is text as it is written."""

    def test_of_listed_labels(self, word):
        """In a list."""
        assert list(parse_task(text(labels=f"[other, {word}]")).labels) == ["other", word]

    def test_of_labels_with_descriptions(self, word):
        """As keys, and in descriptions."""
        assert dict(parse_task(text(labels=f"{{other: x, {word}: {word}}}")).labels) == {
            "other": "x",
            word: word,
        }

    def test_of_examples(self, word):
        """Under a link's examples, labels and texts."""
        task = parse_task(text(chain=f"[{{name: a, kind: embedding, examples: {{{word}: [{word}]}}}}]"))
        assert task.chain[0].options["examples"] == {word: [word]}

    def test_of_examples_behind_an_alias(self, word):
        """Also where two links share them."""
        chain = (
            f"[{{name: a, kind: e, examples: &e {{{word}: [{word}]}}}}, {{name: b, kind: e, examples: *e}}]"
        )
        assert parse_task(text(chain=chain)).chain[1].options["examples"] == {word: [word]}


def test_elsewhere_yaml_is_yaml():
    """A number is one among a link's options."""
    task = parse_task(text(chain="[{name: a, kind: openai, concurrency: 8, body: {stream: no}}]"))
    assert task.chain[0].options == {"concurrency": 8, "body": {"stream": False}}


def test_characters_written_as_json_escapes_are_joined():
    """A task written by a JSON library means what it says."""
    assert list(parse_task(text(labels='["\\ud83d\\ude42", b]')).labels) == ["\U0001f642", "b"]


@pytest.mark.parametrize(
    "content",
    [
        text() + "\nname: again",
        text(labels="{a: x, b: y, a: z}"),
        text(data="{text: a, text: b}"),
        text(chain="[{name: a, kind: b, kind: c}]"),
        text(labels="{1: x, '1': y}"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(content):
    """At any depth, with its line; YAML would take the last one without a word."""
    line = refusal(content)
    assert "is there twice" in line
    assert "line " in line


def bomb(levels, indent):
    """Nine to the power of `levels` words in a few lines."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, levels)]
    return "\n" + "\n".join(" " * indent + line for line in lines)


@pytest.mark.parametrize("levels", [7, 9, 30, 200])
@pytest.mark.parametrize(
    "where",
    [
        lambda bomb: text(labels=bomb(2)),
        lambda bomb: text(chain="\n  - name: x\n    kind: openai\n    body:" + bomb(6)),
        lambda bomb: text(chain="\n  - name: x\n    kind: embedding\n    examples:" + bomb(6)),
        lambda bomb: text(data=bomb(2)),
    ],
    ids=["labels", "body", "examples", "data"],
)
def test_a_billion_laughs_are_refused_at_once(where, levels):
    """Aliases that multiply are counted, not written out."""
    start = time.process_time()
    line = refusal(where(lambda indent: bomb(levels, indent)))
    assert "aliases" in line
    assert time.process_time() - start < 5  # written out, even the smallest takes longer than its patience


@pytest.mark.parametrize(
    "content", ["&r {a: *r}", "&r [*r]", text(labels="&l {a: x, b: *l}"), text(data="&d {text: [*d]}")]
)
def test_an_alias_of_itself_is_refused(content):
    """It has no end."""
    assert "aliases" in refusal(content)


@pytest.mark.parametrize("opener", ["[", "{a: ", "- ", "? ", "{? "])
def test_depth_is_refused(opener):
    """A file nested beyond all measure is an error of the file."""
    assert refusal("labels: " + opener * 3000 if opener[0] in "[{" else opener * 3000)


def test_load_task_names_the_file(tmp_path):
    """A missing file, a folder, and one that is not UTF-8."""
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    for name in ("missing.yaml", ".", "latin.yaml"):
        with pytest.raises(TaskError, match="can't read the task file") as caught:
            load_task(tmp_path / name)
        assert str(tmp_path) in str(caught.value)


WORDS = [
    *GOOD,
    *GOOD.values(),
    "text",
    "share",
    "examples",
    "yes",
    "~",
    "1",
    "<<",
    "!!int",
    "!!set",
    "&a",
    "*a",
    "\ud800",
]
MARKS = [
    "\n",
    "\n  ",
    "\n- ",
    ": ",
    ", ",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "|",
    ">",
    "?",
    "#",
    "---",
    "\t",
    "\\",
    "%",
    "@",
]


@FUZZ
@given(st.lists(st.sampled_from(WORDS + MARKS), max_size=30).map("".join) | st.text())
def test_anything_is_refused_or_a_task(content):
    """No other exception, whatever the text."""
    only_task_errors(content)


@FUZZ
@given(st.data())
def test_a_damaged_task_is_refused_or_a_task(data):
    """As above, near to a good file: a few places replaced."""
    content = text()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.integers(0, 12))
        content = (
            content[:at]
            + data.draw(st.sampled_from(WORDS + MARKS) | st.text(max_size=3))
            + content[at + cut :]
        )
    only_task_errors(content)


def only_task_errors(content):
    """Parse; a refusal is one line."""
    try:
        found = parse_task(content)
    except TaskError as error:
        found = str(error)
    assert isinstance(found, TaskSpec) or "\n" not in found
