"""The tables that people read: a number is never cut."""

import io

import pytest
from rich.console import Console

from catena.cli import main
from catena.cli.tables import classes_tables, links_tables, table
from tables import vote, write_votes

NUMBERS = ("1,234,567", "400,120", "834,447", "98,765", "1,300,001", "7,654,321/1,234,567", "$1,234.50")


def shown(tables, width):
    """The lines of tables on a screen of this width."""
    console = Console(file=io.StringIO(), width=width)
    for each in tables:
        console.print(each, crop=False)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.fixture
def run():
    """A run with long names and large numbers."""
    link = {"link": "a-link-with-a-long-name", "model": "Qwen/Qwen2.5-7B-Instruct-AWQ", "received": 1234567}
    link |= {"kept": 400120, "forwarded": 834447, "failed": 98765, "calls": 1300001, "agreement": 0.5}
    link |= {"prompt_tokens": 7654321, "completion_tokens": 1234567, "cost_usd": 1234.5, "seconds": 99.5}
    return {"links": [link]}


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
def test_no_number_is_cut(run, width):
    """Whatever the screen's width, each stands in one piece, and no line is longer than the screen."""
    lines = shown(links_tables(run, width), width)
    assert all(any(number in line.split() for line in lines) for number in NUMBERS)
    assert max(map(len, lines)) <= width


def test_one_table_where_it_fits(run):
    """Two on a narrow screen."""
    assert [len(links_tables(run, width)) for width in (80, 200)] == [2, 1]


def test_many_links_make_several_tables_of_classes():
    """Each has the classes, and together they have every link."""
    links = [{"link": f"a-very-long-name-{at}", "per_class": {"a": {"f1": at / 100}}} for at in range(12)]
    scores = {"links": links, "aggregates": {}, "final": {"per_class": {"a": {"support": 5}}}}
    tables = classes_tables(scores, 80)
    lines = shown(tables, 80)
    assert len(tables) > 1
    assert max(map(len, lines)) <= 80
    assert all(f"0.{at:02}0" in " ".join(lines) for at in range(12))


def test_a_screen_that_is_too_narrow_cuts_nothing():
    """What does not fit goes on in the next line of the terminal."""
    lines = shown([table(None, ["name", "n"], [["x" * 30, "1,234,567,890"]], left=1)], 12)
    assert any("1,234,567,890" in line for line in lines)


def test_a_file_has_no_trailing_spaces(tmp_path, capsys):
    """Nor colours."""
    votes = write_votes(tmp_path / "votes", [vote("a", "small"), vote("a", "big")])
    assert main(["simulate", str(votes), "--permutations", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]
