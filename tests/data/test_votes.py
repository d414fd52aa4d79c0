"""Vote tables: what is normal in them, and what is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catena.data.votes import read_votes
from catena.errors import DataError
from tables import NAN, vote, write_votes

VOTES = [vote("a"), vote("b", label="against", confidence=0.25)]
NO_VOTES = pa.schema(
    {"item_id": pa.string(), "link": pa.string(), "label": pa.string(), "confidence": pa.float64()}
).empty_table()


def as_lists(table):
    """Return everything in a table, NaN as None, for comparison."""
    return {
        "item_ids": table.item_ids.tolist(),
        "links": table.links,
        "labels": table.labels,
        "label": table.label.tolist(),
        "confidence": np.where(np.isnan(table.confidence), None, table.confidence).tolist(),
        "recorded": table.recorded.tolist(),
        "cost_usd": np.where(np.isnan(table.cost_usd), None, table.cost_usd).tolist(),
        "gold": table.gold.tolist(),
        "notes": table.notes,
    }


def test_a_plain_table(tmp_path):
    """Votes are laid out by link and item; labels and gold are indices into labels.json."""
    votes = [vote("b", "big", "against", 0.75, cost_usd=2.0), vote("a", "big", "favor", 0.5, cost_usd=1.0)]
    table = read_votes(write_votes(tmp_path, votes, gold=["favor", None]))
    assert as_lists(table) == {
        "item_ids": ["a", "b"],
        "links": ("big",),
        "labels": ("against", "favor"),
        "label": [[1, 0]],
        "confidence": [[0.5, 0.75]],
        "recorded": [[True, True]],
        "cost_usd": [[1.0, 2.0]],
        "gold": [1, -1],
        "notes": (),
    }
    assert len(table) == 2


def test_any_row_order_gives_the_same_votes(tmp_path):
    """Shuffled rows of votes.parquet hold the same votes of each link."""
    votes = [vote(id_, link, confidence=i / 10) for i, id_ in enumerate("abc") for link in ("small", "big")]
    one = read_votes(write_votes(tmp_path / "one", votes, "abc"))
    two = read_votes(write_votes(tmp_path / "two", votes[::-1], "abc"))
    assert as_lists(one.chain(["small", "big"])) == as_lists(two.chain(["small", "big"]))


def test_any_row_order_gives_the_same_order_of_links(tmp_path):
    """Nor does the order of the links, which `--permutations` goes through, hang on the rows."""
    votes = [vote("a", "small"), vote("a", "big")]
    one = read_votes(write_votes(tmp_path / "one", votes))
    two = read_votes(write_votes(tmp_path / "two", votes[::-1]))
    assert one.links == two.links


def test_nan_and_null_confidences_are_none(tmp_path):
    """Both mean that the link gave no confidence; the vote counts."""
    table = read_votes(write_votes(tmp_path, [vote("a", confidence=NAN), vote("b", confidence=None)]))
    assert np.isnan(table.confidence).all()
    assert table.voted.all()


def test_a_null_label_is_a_failure_even_with_a_confidence(tmp_path):
    """Recorded, but no vote."""
    table = read_votes(write_votes(tmp_path, [vote("a", label=None, confidence=0.9), vote("b")]))
    assert table.voted.tolist() == [[False, True]]
    assert table.recorded.all()


def test_a_link_where_all_votes_failed(tmp_path):
    """A label column of nulls only, which Parquet gives no text type, is read."""
    table = read_votes(write_votes(tmp_path, [vote("a", label=None), vote("b", label=None)]))
    assert not table.voted.any()


def test_an_item_without_a_row_at_a_link_is_missing_there(tmp_path):
    """Missing is neither a vote nor recorded, and no note: it is normal."""
    table = read_votes(write_votes(tmp_path, [vote("a", "small"), vote("b", "small"), vote("b", "big")]))
    assert table.chain(["small", "big"]).recorded.tolist() == [[True, True], [False, True]]
    assert table.voted.tolist() == table.recorded.tolist()
    assert table.notes == ()


def test_votes_for_unknown_items_are_noted_and_ignored(tmp_path):
    """One line says how many; the rest is as without them."""
    strays = [vote("x"), vote("y"), vote(None)]
    table = read_votes(write_votes(tmp_path, [*strays, *VOTES]))
    assert len(table.notes) == 1
    assert "3 votes" in table.notes[0]
    assert as_lists(table) | {"notes": ()} == as_lists(read_votes(write_votes(tmp_path / "clean", VOTES)))


def test_a_vote_for_a_text_that_is_no_label_is_a_noted_failure(tmp_path):
    """It is named to the user and never becomes a label."""
    table = read_votes(write_votes(tmp_path, [vote("a", label="maybe"), vote("b")]))
    assert table.voted.tolist() == [[False, True]]
    assert "maybe" in table.notes[0]


def test_unknown_columns_and_list_columns_are_ignored(tmp_path):
    """Columns that nothing here needs are not even read."""
    votes = [one | {"label_logprobs": [-0.1, None], "mood": "good"} for one in VOTES]
    assert read_votes(write_votes(tmp_path, votes)).voted.all()


def test_without_gold_and_cost(tmp_path):
    """Both are optional: unknown everywhere."""
    table = read_votes(write_votes(tmp_path, VOTES))
    assert table.gold.tolist() == [-1, -1]
    assert np.isnan(table.cost_usd).all()


@pytest.mark.parametrize("ids", [[1, 2], ["é", "日本 🙂"], ["e\u0301", "\u00e9"], ["", " "], ["01", "1"]])
def test_ids_of_any_kind(tmp_path, ids):
    """Ids are text, taken as they are: numbers as written, no normalisation, no trimming."""
    table = read_votes(write_votes(tmp_path, [vote(id_) for id_ in ids], ids))
    assert table.item_ids.tolist() == [str(id_) for id_ in ids]
    assert table.voted.all()


def test_ids_that_are_numbers_in_one_file_and_text_in_the_other(tmp_path):
    """The text of the number is the id."""
    assert read_votes(write_votes(tmp_path, [vote("1"), vote("2")], [1, 2])).voted.all()


def test_dictionary_large_and_view_columns(tmp_path):
    """How Arrow stores a text does not matter."""
    votes = pa.table(
        {
            "item_id": pa.array(["a", "b"], pa.large_string()),
            "link": pa.array(["small", "small"]).dictionary_encode(),
            "label": pa.array(["favor", None]).dictionary_encode(),
            "confidence": pa.array([0.5, None], pa.float32()),
        }
    )
    items = pa.table(
        {
            "item_id": pa.array(["a", "b"]).dictionary_encode(),
            "gold": pa.array(["favor"] * 2, pa.string_view()),
        }
    )
    table = read_votes(write_votes(tmp_path, votes, items))
    assert table.label.tolist() == [[1, -1]]
    assert table.gold.tolist() == [1, 1]


def test_many_row_groups(tmp_path):
    """A file in pieces is one table."""
    write_votes(tmp_path, VOTES)
    pq.write_table(pq.read_table(tmp_path / "votes.parquet"), tmp_path / "votes.parquet", row_group_size=1)
    assert read_votes(tmp_path).voted.all()


def test_labels_that_are_numbers(tmp_path):
    """Numbers in labels.json are the text they are spelt as."""
    table = read_votes(
        write_votes(tmp_path, [vote("a", label=1), vote("b", label=2)], gold=["2", "1"], labels=[1, 2])
    )
    assert table.labels == ("1", "2")
    assert table.label.tolist() == [[0, 1]]
    assert table.gold.tolist() == [1, 0]


def test_no_votes_at_all(tmp_path):
    """An empty votes.parquet is a table of no links."""
    table = read_votes(write_votes(tmp_path, NO_VOTES))
    assert table.links == ()
    assert table.label.shape == (0, 2)


def test_a_chain_is_the_links_in_that_order(tmp_path):
    """Rows follow the names; the items stay."""
    votes = [
        vote("a", "small", confidence=0.1),
        vote("a", "mid", confidence=0.2),
        vote("a", "big", confidence=0.3),
    ]
    chain = read_votes(write_votes(tmp_path, votes, ["a"])).chain(["big", "small"])
    assert chain.links == ("big", "small")
    assert chain.confidence.tolist() == [[0.3], [0.1]]
    assert chain.voted.shape == (2, 1)


@pytest.mark.parametrize(
    ("names", "says"), [(["huge"], "unknown link: huge"), (["small", "small"], "once"), ([], "at least one")]
)
def test_a_chain_of_wrong_names_is_refused(tmp_path, names, says):
    """An unknown, repeated or absent name is a DataError."""
    with pytest.raises(DataError, match=says):
        read_votes(write_votes(tmp_path, VOTES)).chain(names)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"items": []}, "no items"),
        ({"items": ["a", "b", "a"]}, "more than once: a"),
        ({"items": ["a", None]}, "1 rows have no item_id"),
        ({"gold": ["maybe", "favor"]}, "gold values outside the labels: 'maybe'"),
        ({"votes": [vote("a"), vote("b"), vote("a")]}, "more than one vote.*a at small"),
        ({"votes": [vote("a"), vote("b", link=None)]}, "1 votes name no link"),
        ({"votes": [{"item_id": "a", "link": "small"}]}, "no column label, confidence"),
        ({"items": pa.table({"id": ["a"]})}, "no column item_id"),
        ({"labels": []}, "distinct texts"),
        ({"labels": ["x", "x"]}, "distinct texts"),
        ({"labels": {"x": 1}}, "distinct texts"),
    ],
)
def test_structural_faults_are_refused(tmp_path, given, says):
    """Each fault is one line that names the file and the place."""
    with pytest.raises(DataError, match=says) as error:
        read_votes(write_votes(tmp_path, **{"votes": VOTES} | given))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_at_most_20_places_are_named(tmp_path):
    """30 repeated ids: 20 by name, 10 by number."""
    with pytest.raises(DataError, match="and 10 more"):
        read_votes(write_votes(tmp_path, VOTES, [f"item{i // 2}" for i in range(60)]))


@pytest.mark.parametrize("name", ["items.parquet", "votes.parquet", "labels.json"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, name):
    """A DataError with the path, never a traceback of the reader."""
    (write_votes(tmp_path, VOTES) / name).write_bytes(b"PAR1 damaged")
    with pytest.raises(DataError, match=name):
        read_votes(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(
        DataError, match=f"{name} does not exist. A vote table is a folder with items.parquet"
    ):
        read_votes(tmp_path)


@pytest.mark.parametrize("cost", [-0.5, float("inf"), float("-inf")])
def test_a_cost_that_can_not_be_is_refused(tmp_path, cost):
    """It would make a chain look cheap; an unknown cost is null."""
    rows = [vote("a", cost_usd=0.25), vote("b", cost_usd=cost)]
    with pytest.raises(
        DataError, match=r"votes.parquet: costs can't be below 0 .* 1 of cost_usd, -?(0.5|inf)"
    ):
        read_votes(write_votes(tmp_path, rows))
    rows[1]["cost_usd"] = None
    assert np.isnan(read_votes(write_votes(tmp_path, rows)).cost_usd[0, 1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": "high"},
        {"confidence": [0.5]},
        {"label": ["favor"]},
        {"item_id": b"\xff"},
    ],
    ids=str,
)
def test_a_column_of_the_wrong_type_is_refused(tmp_path, wrong):
    """A DataError that names the file and the column."""
    with pytest.raises(DataError, match=f"votes.parquet.*{next(iter(wrong))}"):
        read_votes(write_votes(tmp_path, [vote("a") | wrong]))


def test_more_labels_than_int16_holds(tmp_path):
    """70,000 labels keep their index, or are refused: never another label."""
    labels = [str(k) for k in range(70_000)]
    votes = [vote("a", label="69999"), vote("b", label="32768")]
    try:
        table = read_votes(write_votes(tmp_path, votes, labels=labels))
    except DataError:
        return
    assert table.label.tolist() == [[69_999, 32_768]]


@pytest.mark.parametrize("labels", [[True, "true"], [None, "x"]], ids=json.dumps)
def test_labels_that_are_no_distinct_texts_are_refused(tmp_path, labels):
    """Distinct after they have become text; null is no label."""
    with pytest.raises(DataError, match="distinct texts"):
        read_votes(write_votes(tmp_path, VOTES, labels=labels))
