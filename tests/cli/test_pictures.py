"""Pictures in the terminal: what they say at fixed widths, in ASCII, and never in JSON."""

import io
import json

import msgspec
import pytest
from rich.cells import cell_len

from catena.cli import main
from catena.cli.drawing import Ink
from catena.cli.output import Output
from catena.cli.pictures import flow_picture, plan_picture, reliability_bar, risk_spark
from catena.ledger import WritableLedger
from catena.task import load_task
from tables import vote, write_votes

BLOCKS, ASCII = Ink(), Ink(ascii=True)
LINKS = [
    {
        "link": "small",
        "kept": 50,
        "forwarded": 50,
        "confidences": {"low": 0.1, "high": 2.0, "counts": [1, 4, 8]},
    },
    {"link": "a-link-with-a-long-name", "kept": 30, "forwarded": 20, "confidences": None},
    {
        "link": "big",
        "kept": 20,
        "forwarded": 0,
        "confidences": {"low": 0.5, "high": 9.0, "counts": [8, 0, 1]},
    },
]
RUN = {"n": 100, "links": LINKS}


def chain(names, share, accuracy):
    """Return a chain of a frontier."""
    return {
        "chain": names,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.05,
        "accuracy_high": accuracy + 0.05,
        "cost_share": share,
    }


FRONTIER = [chain(["small"], 0.05, 0.7), chain(["small", "big"], 0.4, 0.85), chain(["big"], 1.0, 0.9)]
PLAN = {
    "chain": ["small", "big"],
    "expected": FRONTIER[1],
    "reference": "big",
    "frontier": FRONTIER,
    "links": [
        {"link": "small", "accuracy": 0.71, "cost_share": 0.05},
        {"link": "big", "accuracy": 0.88, "cost_share": 1.0},
    ],
}


def test_the_flow_is_a_staircase():
    """What each link kept begins where the link before ended; the share stands beside it, and how sure it was."""
    lines = flow_picture(RUN, 80, BLOCKS)
    assert lines[1] == " small          " + "█" * 11 + "░" * 11 + "  50.0%    0.10 ▁▄█ 2.00"
    assert lines[2] == " a-link..g-name " + " " * 11 + "█" * 7 + "░" * 4 + "  30.0%   gives none"
    assert lines[3] == " big            " + " " * 18 + "█" * 4 + "  20.0%    0.50 █ ▁ 9.00"
    assert lines[4] == " █ kept  ░ forwarded"


@pytest.mark.parametrize("width", [40, 50, 80, 160])
@pytest.mark.parametrize("ink", [BLOCKS, ASCII])
def test_pictures_fit(width, ink):
    """No line is longer than the screen."""
    flow, plan = flow_picture(RUN, width, ink), plan_picture(PLAN, width, ink)
    assert max(map(len, flow)) <= width
    assert max(len(line.plain) for line in plan[:-1]) <= width
    if ink.ascii:
        assert "\n".join([*flow, *[line.plain for line in plan]]).isascii()


def test_a_plan_marks_the_one_to_take():
    """Chains by their numbers, links by letters, all named; the recommended chain by a star."""
    lines = [line.plain for line in plan_picture(PLAN, 76, BLOCKS)]
    assert lines[0] == " accuracy, by the cost against big alone"
    drawn = "\n".join(lines[1:-2])
    assert all(mark in drawn for mark in "1★3ab")
    assert lines[-2].split() == ["0.05x", "0.40x", "1.00x"]
    assert "★ take this   1-3 what money buys   a small   b big" in lines[-1]


def test_free_links_make_no_picture():
    """There is no cost to lay anything against."""
    free = {key: [each | {"cost_share": None} for each in PLAN[key]] for key in ("frontier", "links")}
    assert plan_picture(PLAN | free | {"expected": FRONTIER[1] | {"cost_share": None}}, 80, BLOCKS) == []


def test_reliability_and_risk():
    """A bar of how often it is right with a stroke at what was promised; errors from the surest tenth to all."""
    assert reliability_bar(0.75, 0.5, BLOCKS) == "[██████████     │    ]"
    assert risk_spark([0.1] * 50 + [0.8] * 50, ASCII) == "_____#####"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a finished run of two replayed links, with gold."""
    monkeypatch.chdir(tmp_path)
    ids = [f"i{at}" for at in range(40)]
    rows = [
        vote(
            name,
            link,
            "favor" if at % 3 else "against",
            at / 10,
            label_logprobs=[-0.5 - at / 50, -1.0],
            cost_usd=cost,
        )
        for at, name in enumerate(ids)
        for link, cost in (("small", 0.001), ("big", 0.01 + at / 5000))
    ]
    write_votes(tmp_path / "votes", rows, ids)
    links = "".join(f"  - {{name: {name}, kind: replay, votes: votes}}\n" for name in ("small", "big"))
    task = f"instruction: q\nlabels: [against, favor]\ndata: {{id: id, gold: gold}}\nchain:\n{links}"
    (tmp_path / "task.yaml").write_text(task)
    (tmp_path / "data.csv").write_text(
        "id,text,gold\n" + "".join(f"{name},hi {name},favor\n" for name in ids)
    )
    assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
    return tmp_path


def test_a_run_ends_with_what_it_was_worth(here, capsys):
    """The flow, how often it is right, and what the dearest link would have cost with its interval."""
    capsys.readouterr()
    assert main(["run", "task.yaml", "data.csv", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert " small          " + "█" * 20 + "░" * 20 + "  50.0%" in out
    assert "Right in " in out
    assert "of the 40 rows with gold." in out
    assert "(the dearest) would have cost $0.4760 ($0.4640 to $0.4880); this run $0.2780 (42% less)." in out


def test_json_has_no_picture(here, capsys):
    """Neither on stdout nor on stderr; it has the figures."""
    capsys.readouterr()
    assert main(["run", "task.yaml", "data.csv", "--out", "run", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert sum(document["links"][0]["confidences"]["counts"]) == 40
    assert document["dearest"]["cost_usd_low"] <= document["dearest"]["cost_usd"]
    assert "█" not in captured.out + captured.err


def test_status_shows_how_far_it_is(here, capsys):
    """A bar for each link, of the rows that it receives."""
    capsys.readouterr()
    assert main(["status", "run"]) == 0
    out = capsys.readouterr().out
    assert f"[{'█' * 20}] small: 40 answered" in out
    assert f"[{'█' * 20}] big: 20 answered" in out
    (here / "half.yaml").write_text((here / "task.yaml").read_text() + "policy: {share: [0, 1]}\n")
    with WritableLedger(here / "run") as ledger:  # as the run was when that decision had begun
        ledger.put(task=msgspec.to_builtins(load_task(here / "half.yaml")), finished=None)
    capsys.readouterr()
    assert main(["status", "run"]) == 0
    assert f"[{'█' * 10}{' ' * 10}] big: 20 answered" in capsys.readouterr().out


def test_evaluate_draws_reliability(here, capsys):
    """A bar in each line of the reliability diagram, and the errors among the surest."""
    capsys.readouterr()
    assert main(["evaluate", "run", "--show", "confidence"]) == 0
    out = capsys.readouterr().out
    assert "right, as said │" in out
    assert "0.60 to 0.67       1   0.607   0.000   [            │       ]" in out
    assert "surest 10%" in out


@pytest.mark.parametrize(("encoding", "plain"), [("utf-8", False), ("ascii", True), ("latin-1", True)])
def test_ascii_stands_in_where_blocks_cant_be_shown(monkeypatch, encoding, plain):
    """The encoding of where it goes decides."""
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert Output().ink == Ink(ascii=plain)


@pytest.mark.parametrize("name", ["模型一号的名字非常长而且还要更长", "ab", "a" * 99])
def test_names_are_as_wide_as_they_look(name):
    """Also those in letters that take two places."""
    lines = flow_picture(
        {"n": 1, "links": [LINKS[0] | {"link": name, "kept": 1, "forwarded": 0}]}, 80, BLOCKS
    )
    assert cell_len(lines[1].split("█")[0]) == 16


def test_prose_breaks_between_words_and_commands_do_not(monkeypatch):
    """On a narrow terminal; what is copied stays in one line, whatever the screen makes of it."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", screen := Terminal())
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    Output().say("a line of some words for people", "catena run task.yaml data.csv --out run")
    assert screen.getvalue().splitlines() == [
        "a line of some words for",
        "people",
        "catena run task.yaml data.csv --out run",
    ]
