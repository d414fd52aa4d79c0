"""catena init: what it guesses, what it writes, and that it is always a valid task."""

import csv
import gzip
import io
import json
import re

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from catena.cli import main
from catena.cli.task_text import scalar
from catena.data.guess import distinguish
from catena.data.rows import read_rows
from catena.links import open_link
from catena.prompts import Prompter
from catena.routing import exact_shares
from catena.task import load_task, parse_task

PRESETS = {
    "stance": (["favor", "against", "none"], "id,text,target,stance\n1,I like it,Cats,favor\n"),
    "ideology": (["liberal", "conservative", "neutral"], "id,text,leaning\n1,Lower taxes,conservative\n"),
    "misinformation": (["misinfo", "real"], "id,text,gold\n1,Moon is cheese,misinfo\n"),
}
FUZZ = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TRICKY = [
    "yes",
    "no",
    "none",
    "1",
    "null",
    "~",
    "on",
    "1.0",
    "2020-01-01",
    "<<",
    "=",
    "a: b",
    "- a",
    "#x",
    "'",
    '"',
]
TRICKY += [
    "two\nlines",
    "tab\t",
    "\u2028",
    "\x85",
    "\x00",
    "\ufeff",
    "🙂",
    "é",
    "{{ text }}",
    "\\",
    "&a",
    "*a",
    "!a",
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def init(here, capsys):
    """Write a data file, run the command on it, and return its document and the task."""

    def run(content, *arguments, name="data.csv"):
        (here / name).write_bytes(content.encode() if isinstance(content, str) else content)
        assert main(["init", name, "--json", *arguments]) == 0, capsys.readouterr().err
        found = json.loads(capsys.readouterr().out)
        return found, load_task(here / found["task"])

    return run


def table(*columns, rows=30):
    """A CSV file with these columns: a name and a function of the row's number."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([name for name, _ in columns])
    writer.writerows([[cell(row) for _, cell in columns] for row in range(rows)])
    return file.getvalue()


def column(found):
    """The guessed columns."""
    return {key: found[key] for key in ("text", "id", "target", "gold")}


def words(row):
    """A text."""
    return f"text number {row}, of some length"


class TestGuesses:
    """Which column is what."""

    @pytest.mark.parametrize(
        "name", ["text", "Tweet", "message", "content", "body", "comment", "tweet_text", "My Text"]
    )
    def test_a_text_is_known_by_its_name(self, init, name):
        """Although another column has longer texts."""
        found, _ = init(table(("note", lambda r: words(r) * 5), (name, words)))
        assert found["text"] == name

    def test_otherwise_the_text_is_the_longest(self, init):
        """By the mean length, numbers apart."""
        found, _ = init(table(("a", lambda r: "x"), ("b", words), ("c", lambda r: 10**60 + r)))
        assert found["text"] == "b"

    @pytest.mark.parametrize("name", ["id", "ID", "tweet_id", "tweetId", "item-id", "uuid"])
    def test_an_id_is_known_by_its_name(self, init, name):
        """And by being distinct."""
        found, _ = init(table((name, str), ("text", words)))
        assert found["id"] == name

    def test_a_repeated_id_is_none(self, init):
        """Although it repeats only after the rows that were looked at first."""
        found, _ = init(table(("id", lambda r: r % 8000), ("text", words), rows=9000))
        assert found["id"] is None

    def test_a_missing_id_is_none(self, init):
        """An empty cell names no row."""
        found, _ = init(table(("id", lambda r: r or ""), ("text", words)))
        assert found["id"] is None

    def test_the_short_name_comes_first(self, init):
        """`id` before `user_id`, where both are distinct."""
        found, _ = init(table(("user_id", str), ("id", str), ("text", words)))
        assert found["id"] == "id"

    @pytest.mark.parametrize(
        "name",
        [
            "gold",
            "label",
            "class",
            "stance",
            "topic",
            "Category",
            "target label",
            "gold label",
            "Ground truth",
        ],
    )
    def test_gold_is_known_by_its_name(self, init, name):
        """And by having few values, which become the labels."""
        found, task = init(table(("text", words), (name, lambda r: "ab"[r % 2])))
        assert (found["gold"], list(task.labels)) == (name, ["a", "b"])

    def test_labels_come_from_all_rows(self, init):
        """Also from those behind the first thousands."""
        found, _ = init(
            table(("text", words), ("label", lambda r: "c" if r == 8999 else "ab"[r % 2]), rows=9000)
        )
        assert found["labels"] == ["a", "b", "c"]

    def test_many_values_are_no_labels(self, init):
        """More than 200 are none."""
        found, _ = init(table(("text", words), ("label", lambda r: f"v{r}"), rows=300))
        assert found["gold"] is None

    def test_target_and_gold(self, init):
        """A column named target is the target where another is gold, and the question names it."""
        found, task = init(
            table(("text", words), ("target", lambda r: "cats"), ("stance", lambda r: "ab"[r % 2]))
        )
        assert column(found) == {"text": "text", "id": None, "target": "target", "gold": "stance"}
        assert "{{ target }}" in task.instruction

    def test_a_target_of_numbers_is_gold(self, init):
        """As in many data sets for classifiers."""
        found, _ = init(table(("text", words), ("target", lambda r: r % 2)))
        assert (found["target"], found["gold"], found["labels"]) == (None, "target", ["0", "1"])

    @pytest.mark.parametrize("name", ["a.tsv", "a.jsonl", "a.csv.gz", "a.parquet", "a.arrow"])
    def test_every_format_is_read(self, init, name):
        """The same guesses from each."""
        frame = pl.DataFrame({"id": [1, 2], "body": ["hello there", "good bye"], "label": ["a", "b"]})
        file = io.BytesIO()
        if name == "a.jsonl":
            frame.write_ndjson(file)
        elif name == "a.parquet":
            frame.write_parquet(file)
        elif name == "a.arrow":
            frame.write_ipc(file)
        else:
            frame.write_csv(file, separator="\t" if name == "a.tsv" else ",")
        content = gzip.compress(file.getvalue()) if name.endswith("gz") else file.getvalue()
        found, _ = init(content, name=name)
        assert column(found) == {"text": "body", "id": "id", "target": None, "gold": "label"}


class TestTheFile:
    """What stands in the file."""

    def test_it_is_commented(self, init, here):
        """Every key has a comment before it or beside it."""
        init(table(("id", str), ("text", words), ("label", lambda r: "ab"[r % 2])))
        lines = (here / "task.yaml").read_text().splitlines()
        keys = [
            at
            for at, line in enumerate(lines)
            if re.match(r"(instruction|labels|data|chain|policy|aggregate|seed):", line)
        ]
        assert len(keys) == 7
        assert all(lines[at - 1].startswith("#") for at in keys)

    def test_what_is_commented_out_works(self, init, here):
        """Each alternative, written in place, is a valid task whose links can be built."""
        init(table(("text", words), ("label", lambda r: "ab"[r % 2])))
        text = (here / "task.yaml").read_text()
        alternatives = re.findall(r"(?m)^ *# (?=- \{|policy:|aggregate:)", text)
        assert len(alternatives) == 5
        text = re.sub(r"(?m)^( *)# (- \{)", r"\1\2", text)
        text = re.sub(r"(?m)^aggregate: rank\n((?:#.*\n)*?)# (aggregate: last)", r"\1\2", text)
        task = parse_task(text)
        assert [open_link(spec, task).name for spec in task.chain][2:] == ["gpt-4o", "vllm", "ollama"]
        assert task.aggregate == "last"

    def test_the_other_shares_fit_the_chain(self, init, here):
        """They are shares of the links that are there."""
        init(table(("text", words), ("label", lambda r: "ab"[r % 2])))
        text = re.sub(
            r"(?m)^policy: share\n((?:#.*\n)*?)# (policy: )", r"\1\2", (here / "task.yaml").read_text()
        )
        task = parse_task(text)
        assert task.policy.share is not None
        assert exact_shares(task.policy.share, len(task.chain))

    def test_the_data_fit_the_task(self, init, here):
        """The rows are read with it as they are."""
        _, task = init(table(("id", str), ("text", words), ("label", lambda r: TRICKY[3:][r % 9])))
        assert read_rows(here / "data.csv", task.data, task.labels).count == 30

    def test_without_gold_there_are_labels_to_replace(self, init):
        """Two of them, and a note."""
        found, task = init(table(("text", words)))
        assert list(task.labels) == ["label-1", "label-2"]
        assert found["notes"] == ["the data show no labels; write yours here"]

    def test_gold_that_differs_in_case_only_is_noted(self, init):
        """The task has the first spelling, and a line names the others."""
        found, _ = init(table(("text", words), ("label", lambda r: ("Yes", "no", "yes")[r % 3])))
        assert found["labels"] == ["Yes", "no"]
        assert '"yes"' in found["notes"][0]

    @FUZZ
    @given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200), min_size=1, max_size=8))
    @example(TRICKY)
    @example(["🙂" * 200, "\x01" * 200])
    def test_any_labels(self, init, here, labels):
        """Every distinct gold value comes back from the file as it was, in the order of first use."""
        (here / "task.yaml").unlink(missing_ok=True)
        lines = [{"text": f"some words {at}", "label": label} for at, label in enumerate(labels * 2)]
        found, task = init("\n".join(map(json.dumps, lines)), name="data.jsonl")
        wanted, _ = distinguish(dict.fromkeys(labels))
        assert found["gold"] == "label"
        assert list(task.labels)[: len(wanted)] == wanted

    @FUZZ
    @given(st.lists(st.text(st.characters(codec="utf-8"), max_size=300), min_size=1, max_size=6, unique=True))
    @example(["yes", "null", "a: b", 'say "hi"', "🙂", "# no", "two\nlines", "{{ text }}", "labels", "row"])
    def test_any_columns(self, init, here, names):
        """The text column comes back as it is called, and the task can be rendered."""
        (here / "task.yaml").unlink(missing_ok=True)
        row = {name: f"value {at}" for at, name in enumerate(names)}
        found, task = init(json.dumps(row), name="data.jsonl")
        assert task.data.text == found["text"]
        assert found["text"] in names
        rows = read_rows(here / "data.jsonl", task.data, task.labels)
        prompter = Prompter(task)
        prompter.check(rows.column_names)
        assert row[found["text"]] in prompter(next(iter(rows))[0])

    @pytest.mark.parametrize("name", ["new\nline.csv", "# x.csv", "a b'c.csv", ".csv", "é.csv", "-.csv"])
    def test_any_file_name(self, here, capsys, name):
        """A path can't break out of the comment that it stands in."""
        (here / name).write_text("text\nhello\n")
        assert main(["init", "--json", "--", name]) == 0
        assert load_task(here / "task.yaml").data.text == "text"

    @given(st.text(st.characters(codec="utf-8")))
    @settings(max_examples=300, deadline=None)
    @example("y")
    def test_a_scalar_is_read_back(self, text):
        """Any text, as a value."""
        assert (
            parse_task(
                f"instruction: q\nlabels: [a, b]\nchain: [{{name: a, kind: b}}]\ndata: {{text: {scalar(text)}}}"
            ).data.text
            == text
        )


class TestRefusals:
    """What it does not do."""

    @pytest.mark.parametrize("line", [["data.csv"], ["--preset", "stance"]])
    def test_a_file_is_never_overwritten(self, here, capsys, line):
        """It stays as it is, and the message says how to go on."""
        (here / "data.csv").write_text("text\nhello\n")
        (here / "task.yaml").write_text("mine")
        assert main(["init", *line]) == 2
        assert "--out" in capsys.readouterr().err
        assert (here / "task.yaml").read_text() == "mine"

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("a.csv", "", "is empty"),
            ("a.csv", "text\n", "has no rows"),
            ("a.csv", "text,label\n1\n", "fewer cells than the header"),
            ("a.csv", "text,text\n1,2\n", "same name"),
            ("a.csv", "a,b\n,\n", "no column of texts"),
            ("a.csv", "id;text\n1;hello, you\n", "looks separated by ;"),
            ("a.csv", "id\ttext\n1\thello\n", "looks separated by tabs"),
            ("a.csv", "PK\x03\x04rest", "is an Excel file"),
            ("a.csv", b"\xff\xfet\x00", "is UTF-16 text"),
            ("a.xlsx", "PK\x03\x04rest", "Save it as CSV"),
            ("a.jsonl", "nope\n", "not a JSON object"),
            ("a.txt", "x", "the end of its name"),
        ],
    )
    def test_data_that_cannot_be_used(self, here, capsys, name, content, says):
        """The same words as where they are run, and no file."""
        (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        assert main(["init", name]) == 2
        assert says in capsys.readouterr().err
        assert not (here / "task.yaml").exists()

    @pytest.mark.parametrize(
        "line", [[], ["missing.csv"], ["--preset", "nope"], ["--preset", "stance", "--out", "no/such/folder"]]
    )
    def test_wrong_usage(self, here, line):
        """Neither data nor preset, a missing file, an unknown preset, a folder that is not there."""
        assert main(["init", *line]) == 2
        assert not list(here.iterdir())


class TestPresets:
    """The paper's three tasks."""

    @pytest.mark.parametrize("preset", PRESETS)
    def test_a_preset_is_a_valid_task(self, here, capsys, preset):
        """Its labels, a prompt of its own and a chain of three links that can be built."""
        assert main(["init", "--preset", preset, "--out", "p.yaml", "--json"]) == 0
        task = load_task(here / "p.yaml")
        assert list(task.labels) == PRESETS[preset][0] == json.loads(capsys.readouterr().out)["labels"]
        assert task.prompt
        assert [(spec.kind, spec.options.get("model")) for spec in task.chain] == [
            ("embedding", None), ("openai", "gpt-4o-mini"), ("openai", "gpt-4o"),
        ]  # fmt: skip
        assert len([open_link(spec, task) for spec in task.chain]) == 3

    @pytest.mark.parametrize("preset", PRESETS)
    def test_it_asks_in_the_papers_order(self, init, here, preset):
        """The text, the question with the target, the options, then one of them only."""
        _, task = init(PRESETS[preset][1], "--preset", preset)
        item = next(iter(read_rows(here / "data.csv", task.data, task.labels)))[0]
        asked = Prompter(task)(item)
        order = [item.text, "?", *[f"- {label}: " for label in task.labels], "exactly one of"]
        places = [asked.index(part) for part in order]
        assert places == sorted(places)
        assert (item.target or "?") in asked.partition("Options")[0]

    @pytest.mark.parametrize("preset", PRESETS)
    def test_it_fits_the_papers_data(self, init, preset):
        """With the columns of the three sets nothing is to be adapted."""
        found, _ = init(PRESETS[preset][1], "--preset", preset)
        assert found["gold"] == PRESETS[preset][1].partition("\n")[0].split(",")[-1]
        assert (found["id"], found["text"], found["notes"]) == ("id", "text", [])

    def test_it_takes_the_columns_and_the_spelling_of_the_data(self, init, here):
        """As SemEval's own files have them."""
        content = (
            "ID,Target,Tweet,Stance\n1,Atheism,no gods,FAVOR\n2,Atheism,pray,AGAINST\n3,Atheism,tea,NONE\n"
        )
        found, task = init(content, "--preset", "stance")
        assert column(found) == {"text": "Tweet", "id": "ID", "target": "Target", "gold": "Stance"}
        assert list(task.labels) == ["FAVOR", "AGAINST", "NONE"]
        assert read_rows(here / "data.csv", task.data, task.labels).count == 3

    def test_gold_of_other_values_is_left_out(self, init):
        """And a note names the values."""
        found, _ = init("text,gold\nmoon,real\nsun,satire\n", "--preset", "misinformation")
        assert found["gold"] is None
        assert "satire" in found["notes"][0]

    def test_stance_needs_a_target(self, here, capsys):
        """A question about nothing is refused before it is written."""
        (here / "data.csv").write_text("text\nhello\n")
        assert main(["init", "data.csv", "--preset", "stance"]) == 2
        assert "Add a column 'target'" in capsys.readouterr().err
        assert not (here / "task.yaml").exists()
