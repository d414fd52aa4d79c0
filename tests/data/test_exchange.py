"""What people said, to other tools and back: nothing is lost on the way, and a bad file is one line."""

import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.data.exchange import FORMATS, Given, Outgoing, Suggestion, read_given, write_outgoing
from catena.errors import DataError

LABELS = ("favor", "against", 'none of these, "so" to say')
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)
GIVEN = st.builds(
    Given, st.just(""), TEXT.filter(lambda name: not name.startswith("link:")), st.sampled_from(LABELS), st.just("") | TEXT,
    st.integers(0, 4_000_000_000).map(float), st.integers(0, 9_999).map(float),
)  # fmt: skip
SUGGESTIONS = st.lists(
    st.builds(Suggestion, TEXT, st.sampled_from(LABELS), st.none() | st.floats(-9, 9)), max_size=3
)


@st.composite
def outgoing(draw):
    """Draw an item with what is known of it."""
    item = draw(TEXT)
    people = draw(st.lists(GIVEN, max_size=3, unique_by=lambda each: each.who))
    said = [Given(item, each.who, each.label, each.note, each.at, each.seconds) for each in people]
    fields = draw(st.dictionaries(TEXT, st.none() | TEXT, max_size=2))
    label = draw(st.none() | st.sampled_from(LABELS))
    return Outgoing(item, draw(st.integers(0, 99)), draw(TEXT), fields, draw(SUGGESTIONS), said, label)


@pytest.mark.parametrize("name", FORMATS)
@given(items=st.lists(outgoing(), max_size=4, unique_by=lambda each: each.item))
@settings(max_examples=40)
def test_there_and_back(tmp_path_factory, name, items):
    """Whoever said what, with their notes, and when."""
    path = tmp_path_factory.mktemp("there") / "file"
    write_outgoing(name, path, items, LABELS)
    back = [
        Given(*[getattr(each, field) for field in Given.__struct_fields__[:-1]])
        for each in read_given(name, path)
    ]
    assert back == [each for item in items for each in item.given]


ITEM = Outgoing(
    "r1", 4, "Trees, please.", {"target": "park", "text_id": None},
    [Suggestion("small", "favor", 0.5), Suggestion("big", "against")],
    [Given("r1", "ada@example.org", "against", "", 1_700_000_000.0, 2.5), Given("r1", "Bo", "favor", "hm", 1_700_000_001.0)],
    "against",
)  # fmt: skip


def test_label_studio(tmp_path):
    """The published form: data, predictions of links, annotations of people; users are named by their address."""
    write_outgoing("label-studio", tmp_path / "f", [ITEM], LABELS)
    (task,) = json.loads((tmp_path / "f").read_text("utf-8"))
    assert task["data"] == {
        "target": "park", "text_id": None, "text": "Trees, please.", "item_id": "r1", "catena_label": "against",
    }  # fmt: skip
    choice = {"from_name": "label", "to_name": "text", "type": "choices"}
    assert task["predictions"][0] == {
        "model_version": "small", "score": 0.5, "result": [choice | {"value": {"choices": ["favor"]}}],
    }  # fmt: skip
    ada, bo = task["annotations"]
    assert ada["completed_by"] == {"email": "ada@example.org"}
    assert ada["result"] == [choice | {"value": {"choices": ["against"]}}]
    assert (ada["lead_time"], ada["created_at"], ada["was_cancelled"]) == (
        2.5,
        "2023-11-14T22:13:20.000Z",
        False,
    )
    assert "completed_by" not in bo  # Label Studio takes in its own users alone
    assert bo["result"][0]["meta"] == {"catena_who": "Bo", "text": ["hm"]}


def test_what_label_studio_exports_is_read(tmp_path):
    """Users as numbers or with addresses, skipped tasks, other tags beside the choice, one object a line too."""
    choice = {"from_name": "sentiment", "to_name": "text", "type": "choices", "value": {"choices": ["favor"]}}
    other = {
        "from_name": "spans",
        "to_name": "text",
        "type": "labels",
        "value": {"start": 0, "end": 3, "labels": ["x"]},
    }
    tasks = [
        {"id": 7, "data": {"item_id": "a", "text": "t"}, "annotations": [
            {"completed_by": 3, "result": [other, choice], "updated_at": "2024-05-01T12:00:00Z", "lead_time": 4},
            {"completed_by": {"id": 4, "email": "bo@example.org"}, "result": [choice], "created_at": "2024-05-01T12:00:00+02:00"},
            {"completed_by": 5, "result": [], "was_cancelled": True},
        ]},
        {"id": 8, "data": {"id": 12}, "annotations": []},
    ]  # fmt: skip
    (tmp_path / "f.json").write_text(json.dumps(tasks), "utf-8")
    (tmp_path / "f.jsonl").write_text("\n".join(map(json.dumps, tasks)), "utf-8")
    for name in ("f.json", "f.jsonl"):
        first, second = read_given("label-studio", tmp_path / name)
        assert (first.item, first.who, first.label, first.at, first.seconds) == (
            "a",
            "user 3",
            "favor",
            1714564800.0,
            4.0,
        )
        assert (second.who, second.at) == ("bo@example.org", 1714557600.0)


def test_argilla(tmp_path):
    """The form of its SDK: fields, one suggestion, responses by users that have a UUID; the same name has the same one."""
    write_outgoing("argilla", tmp_path / "f", [ITEM], LABELS)
    (record,) = json.loads((tmp_path / "f").read_text("utf-8"))
    assert set(record) == {"id", "fields", "metadata", "suggestions", "responses", "vectors", "_server_id"}
    assert record["fields"] == {"text": "Trees, please.", "target": "park", "text_id": ""}
    assert record["suggestions"] == {"label": {"value": "against", "score": None, "agent": "big"}}
    assert [each["value"] for each in record["responses"]["label"]] == ["against", "favor"]
    assert all(len(each["user_id"]) == 36 for each in record["responses"]["label"])
    assert (record["metadata"]["vote_small"], record["metadata"]["catena_label"]) == ("favor", "against")


def test_what_argilla_exports_is_read(tmp_path):
    """Responses to a question of another name where there is one question, users by their UUIDs."""
    record = {"id": "a", "fields": {"text": "t"}, "metadata": {}, "suggestions": {}, "vectors": {},
              "responses": {"stance": [{"value": "favor", "user_id": "u-1"}]}, "_server_id": "s"}  # fmt: skip
    (tmp_path / "f.json").write_text(json.dumps([record]), "utf-8")
    (found,) = read_given("argilla", tmp_path / "f.json")
    assert (found.item, found.who, found.label, found.at) == ("a", "u-1", "favor", None)


def test_crowd_kit(tmp_path):
    """task, worker, label for links and people alike; what links said is not read back as people's."""
    write_outgoing("crowd-kit", tmp_path / "f", [ITEM], LABELS)
    with (tmp_path / "f").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["worker"], row["label"]) for row in rows] == [
        ("r1", "link:small", "favor"), ("r1", "link:big", "against"), ("r1", "ada@example.org", "against"), ("r1", "Bo", "favor"),
    ]  # fmt: skip
    (tmp_path / "old.csv").write_text("task,performer,label\na,w1,favor\n", "utf-8")
    (found,) = read_given("crowd-kit", tmp_path / "old.csv")
    assert (found.item, found.who, found.label) == ("a", "w1", "favor")


BAD = {
    "label-studio": [
        ("{", "not valid JSON"), ("{}", "no JSON array"), ("[1]", "no JSON array"), ('[{"id": 1}]', "task 1 has no data.item_id"),
        ('[{"id": 1, "data": {"item_id": "a"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["a", "b"]}}]}]}]',
         "without exactly one choice"),
        ('[{"data": {"item_id": "a"}, "annotations": [3]}]', "an annotation that is none"),
        ('[{"data": {"item_id": true}, "annotations": []}]', "no data.item_id"),
    ],
    "argilla": [
        ("[", "not valid JSON"), ('[{"fields": {}}]', "record 1 has no id"), ('[{"id": "a", "fields": {}, "responses": [1]}]', "record 1"),
        ('[{"id": "a", "fields": {}, "responses": {"label": [{"value": 3}]}}]', "a response that is no label"),
        ('[{"id": "a", "fields": {}, "responses": {"label": 3}}]', "a response that is no label"),
        ('[{"id": 1, "data": {"item_id": "a"}}]', "no id, fields or responses"),
    ],
    "crowd-kit": [
        ("item,who\na,b\n", "lacks a column"), ("task,worker,label\na,,favor\n", "row 1"), ('task,worker,label\n"a,b,c\n', "not valid CSV"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "said"), [(name, *each) for name, all_ in BAD.items() for each in all_]
)
def test_a_bad_file_is_one_line(tmp_path, name, text, said):
    """That says what is wrong and where; nothing of it is taken."""
    (tmp_path / "f.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match=said) as error:
        read_given(name, tmp_path / "f.json")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", FORMATS)
def test_files_that_cannot_be_read(tmp_path, name):
    """A missing file, and one that is no text."""
    with pytest.raises(DataError, match="No such file"):
        read_given(name, tmp_path / "none")
    (tmp_path / "f").write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(DataError, match="not UTF-8"):
        read_given(name, tmp_path / "f")
    (tmp_path / "deep").write_text("[" * 100_000, "utf-8")
    with pytest.raises(DataError):
        read_given(name, tmp_path / "deep")
