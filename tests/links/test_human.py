"""A person as a link: options, what people see, and what their marks come to."""

import asyncio

import pytest

from catena.errors import TaskError
from catena.ledger.marks import Mark
from catena.testing import BrokenContract, check_link
from catena.types import Failure, Item
from chains import open_alone

ITEM = Item(0, "a", "some text", {"topic": "parks", "secret": "x"}, target="trees")


def human(**options):
    """Return a link of people."""
    return open_alone(
        {"name": "people", "kind": "human"} | options,
        instruction="What about {{ target }}?",
        data={"target": "about"},
    )


def mark(who, label, at=0.0):
    """Return what somebody said."""
    return Mark(who, label, at=at)


def test_what_people_see_is_the_question():
    """Text, target, question and the columns that the task shows; other columns change no vote's key."""
    link = human(show=["topic"])
    other = Item(0, "a", "some text", {"topic": "parks", "secret": "y"}, target="trees")
    assert link.render(ITEM) == link.render(other)
    assert "What about trees?" in link.render(ITEM)
    assert link.id_of(link.render(ITEM)) == "a"
    assert human().render(ITEM) != human().render(other)


def test_the_label_that_most_gave():
    """Of two with as many the first one; the confidence is the share that gave it."""
    link = human(price=0.05)
    vote = link.vote([mark("Ada", "none"), mark("Bo", "favor"), mark("Cy", "favor")])
    assert (vote.label, vote.confidence, vote.usage.cost_usd, vote.usage.calls) == (
        "favor",
        2 / 3,
        0.15000000000000002,
        3,
    )
    assert link.vote([mark("Ada", "none"), mark("Bo", "favor")]).label == "none"
    gone = link.vote([mark("Ada", "a label that the task had once")])
    assert isinstance(gone, Failure)
    assert gone.reason == "missing"


def test_how_many_people_an_item_needs():
    """All of them where annotators are named alone, a share of them with overlap, the same ones each time."""
    keys = [at.to_bytes(2, "big") * 8 for at in range(0, 65_536, 16)]
    for link, needed in ((human(), 1), (human(annotators=3), 3)):
        assert {link.needs(key) for key in keys} == {needed}
    link, other = human(overlap=0.2), human(overlap=0.2, guidelines="others")
    needs = [link.needs(key) for key in keys]
    assert set(needs) == {1, 2}
    assert 0.15 < needs.count(2) / len(needs) < 0.25
    assert needs == [other.needs(key) for key in keys]


def test_guidelines_are_a_text_or_a_file(tmp_path, monkeypatch):
    """A name that ends in .md or .txt is a file; one that can't be read is refused in one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "how.md").write_text("# Read", "utf-8")
    assert human(guidelines="how.md").desk_settings["guidelines"] == "# Read"
    assert human(guidelines="Read.").desk_settings["guidelines"] == "Read."
    (tmp_path / "latin.txt").write_bytes(b"\xff")
    for name, why in {"none.md": "No such file", "latin.txt": "not UTF-8"}.items():
        with pytest.raises(TaskError, match=f"link 'people': guidelines: {name}: .*{why}"):
            human(guidelines=name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"overlap": 1.5}, "overlap"),
        ({"annotators": 0}, "annotators"),
        ({"overlap": 0.5, "annotators": 1}, "one annotator does not overlap"),
        ({"price": -1}, "price"),
        ({"guideline": "x"}, "Did you mean 'guidelines'"),
    ],
)
def test_wrong_options(options, said):
    """Each is refused by its name."""
    with pytest.raises(TaskError, match=said):
        human(**options)


def test_the_contract_but_for_calls():
    """People can't be called: all of the contract of links holds, but that a call labels something; `catena check` knows."""
    with pytest.raises(
        BrokenContract, match="it labels at least one of the items: all 1 failed, first with missing"
    ):
        check_link(human(), [ITEM], ["favor", "against", "none"])
    link = human()
    (answer,) = asyncio.run(link.ask([link.render(ITEM)]))
    assert (answer.reason, answer.retryable) == ("missing", False)
