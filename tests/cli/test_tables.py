"""The tables that people read: a number is never cut."""

import io
import re

import pytest
from rich.console import Console

from catena.cli import main
from catena.cli.output import Output
from catena.cli.tables import classes_tables, fitting, links_tables, table
from catena.cli.watch import SPARE
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


class Terminal(io.StringIO):
    """A screen."""

    def isatty(self):
        """It is one."""
        return True


@pytest.fixture
def screen(monkeypatch):
    """What a command shows on a screen of so many characters."""

    def seen(width, *line):
        monkeypatch.setattr("sys.stdout", terminal := Terminal())
        for name, value in (("COLUMNS", width), ("NO_COLOR", 1), ("TERM", "xterm")):
            monkeypatch.setenv(name, str(value))
        assert main([*line]) == 0
        monkeypatch.undo()
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()]

    return seen


@pytest.fixture
def votes(tmp_path):
    """Three links with votes on 40 items with gold; one of the links has a long name."""
    links, ids = ("a-small-link-of-ours", "mid", "big"), [f"i{at}" for at in range(40)]
    rows = [
        vote(name, link, ("against", "favor")[(at * (2 + j)) % 7 % 2], at / 10 + j, cost_usd=0.5)
        for at, name in enumerate(ids)
        for j, link in enumerate(links)
    ]
    return write_votes(tmp_path / "votes", rows, ids, gold=["against", "favor"] * 20), links


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_every_row_of_a_simulation_names_its_chain(screen, votes, width):
    """On any screen, and as many lines of each table have figures as there are orders."""
    folder, links = votes
    lines = screen(width, "simulate", str(folder), "--permutations", "2")
    assert sum(line.startswith(" mid >") for line in lines) % 2 == 0
    joined = "".join(lines)
    assert all(link[:8] in joined for link in links)
    assert "cost" in joined


@pytest.mark.parametrize("width", [50, 80, 160])
def test_tests_name_the_link_that_the_result_is_compared_with(screen, votes, width):
    """On a narrow screen in two tables: accuracy with McNemar, and macro-F1 with its interval."""
    folder, links = votes
    chain = ",".join(links)
    lines = screen(width, "evaluate", "--votes", str(folder), "--chain", chain, "--show", "tests")
    after = lines[next(at for at, line in enumerate(lines) if line.startswith("The result against")) :]
    tables = 1 if width == 160 else 2
    assert sum(line.startswith(" big ") for line in after) == tables + 1  # and in what each link changes
    heads = [line for line in after if "95 % interval" in line]
    assert len(heads) == 1
    assert "macro-F1" in heads[0]


def test_a_column_is_never_left_out(monkeypatch):
    """What a screen is too narrow for goes on in its next line."""
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    Output().say(table("t", ["link", "n", "m", "o"], [["small", "1,234,567", "7,654,321", "9,999"]], left=1))
    row = next(line for line in terminal.getvalue().splitlines() if "1,234,567" in line)
    assert row.split() == ["small", "1,234,567", "7,654,321", "9,999"]


def test_progress_names_its_links_on_any_screen():
    """The live table does without columns, the link, what it received and what it spent last of all."""
    rows = [["a-link-with-a-long-name", "1,000,000 of 1,234,567", *["123,456"] * 5, "$1,234.50", "1:23:45"]]
    names = ["link", "received", "kept", "forwarded", "failed", "calls/s", "at a time", "spent", "left"]
    found = {width: fitting(names, rows, width, SPARE)[0] for width in (40, 80, 160)}
    assert found[160] == names
    assert found[80] == ["link", "received", "failed", "calls/s", "spent", "left"]
    assert found[40] == ["link", "received", "spent"]
    lines = shown([table(None, *fitting(names, rows, 80, SPARE), left=1)], 80)
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(" a-link-wi") for line in lines)


def test_items_are_those_with_gold(screen, tmp_path):
    """Figures are over no others: a table of 40 items with gold of 10 says 10."""
    ids = [f"i{at}" for at in range(40)]
    folder = write_votes(tmp_path / "v", [vote(each) for each in ids], ids, gold=["favor"] * 10 + [None] * 30)
    row = next(line for line in screen(160, "evaluate", "--votes", str(folder)) if "small, on" in line)
    assert " 10 " in row
    assert " 40 " not in row
