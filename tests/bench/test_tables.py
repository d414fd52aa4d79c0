"""What the tables of the benchmarks say, from costs that are given."""

import pytest

import make_peers
import overhead
import peers
import pipelining
from measure import Cost


def test_overhead_states_each_figure_whole_and_beyond_the_start():
    """12,000 votes in 6.0 s, 1.5 of them allowed and 1.0 needed: 2,000, 2,667 and 2,400 votes/s of 2,560."""
    start = Cost(1.1, 0.5, 0.1, 100)
    line = overhead.row(100, 12_000, 256, [Cost(6.0, 3.0, 0.6, 150)], start)
    assert line["votes/s"] == "2,000 / 2,667 / 2,400"
    assert line["bound"] == "2,560"
    assert line["share of the bound"] == "78% / 104% / 94%"
    assert line["CPU s / 1,000 votes"] == "0.300 / 0.175 / 0.250"


def test_overhead_knows_no_bound_without_latency():
    """A server that answers at once sets no limit."""
    line = overhead.row(0, 100, 256, [Cost(2.0, 1.0, 0.0, 100)], Cost(0.5, 0.4, 0.0, 90))
    assert line["bound"] == line["share of the bound"] == "-"


def round_of(name, runs, starts):
    """Return a round of a tool with these costs."""
    tool = next(tool for tool in peers.TOOLS if tool.name.startswith(name))
    made = peers.Round(tool, 100, "http://127.0.0.1:1/v1")
    made._runs, made._starts = runs, starts
    return made.figures()


def test_peers_takes_the_start_up_off_where_it_says_so():
    """Calls a second and CPU time beyond start-up leave out what one row takes, but for one latency."""
    ours = round_of("catena", [(Cost(6.0, 4.0, 0.0, 200), 12_000)], [Cost(1.1, 0.4, 0.0, 150)])
    theirs = round_of("litellm", [(Cost(10.0, 8.0, 1.0, 300), 3_000)], [Cost(4.1, 3.0, 0.0, 250)])
    line = peers.line("litellm", 100, theirs, ours, floor=50)
    assert (line["calls/s"], line["beyond start-up"], line["start-up s"]) == ("300", "500", "4.00")
    assert line["CPU s / 1,000 calls"] == "2.000"
    assert (line["catena is"], line["catena is, beyond start-up"]) == ("6.7x", "4.8x")
    assert line["peak MB"] == "300"


def test_peers_says_nothing_about_a_pace_too_short_to_tell():
    """Where start-up is nearly all of the time, the pace is no figure; nor is memory below what any child shows."""
    found = round_of("openai", [(Cost(1.3, 0.5, 0.0, 40), 10)], [Cost(1.2, 0.5, 0.0, 40)])
    line = peers.line("openai", 100, found, found, floor=50)
    assert line["beyond start-up"] == line["CPU s / 1,000 calls"] == line["catena is, beyond start-up"] == "-"
    assert line["peak MB"] == "< 50"


def test_every_tool_has_its_driver_and_a_way_to_install_it():
    """A tool of the table is a file in bench/drivers/ and a pinned entry of make_peers."""
    for tool in peers.TOOLS:
        assert not tool.driver or (peers.DRIVERS / tool.driver).is_file()
        assert not tool.peer or tool.peer in make_peers.PEERS
    pinned = [package for steps in make_peers.PEERS.values() for step in steps for package in step]
    assert all("==" in package for package in pinned)


def test_a_tool_that_is_not_installed_is_left_out_with_the_way_to_install_it(monkeypatch, tmp_path):
    """The reason names the command."""
    monkeypatch.setattr(make_peers, "FOLDER", tmp_path)
    tool = next(tool for tool in peers.TOOLS if tool.peer == "litellm")
    assert peers.absent(tool) == "not installed: python bench/make_peers.py litellm"


def test_a_peer_that_fails_is_left_out_and_catena_is_not(monkeypatch):
    """A broken peer costs its own line only; a broken catena ends the benchmark."""

    class Broken:
        def point_at(self, base_url):
            self.base_url = base_url

        def cost(self, tool, rows):
            raise SystemExit("error: it broke")

    theirs = peers.Round(peers.TOOLS[-1], 100, "http://127.0.0.1:1/v1")
    theirs.go(Broken(), 10)
    assert theirs.fault == "error: it broke"
    with pytest.raises(SystemExit, match="it broke"):
        peers.Round(peers.TOOLS[0], 100, "http://127.0.0.1:1/v1").go(Broken(), 10)


def test_pipelining_compares_what_is_left_after_every_start():
    """Three starts are taken off three runs, one off one: 20 s against 40 s is half the time."""
    few, rows = pipelining.FEW, 3_000
    found = {
        ("together", few): [[1.0]],
        ("one after the other", few): [[1.0, 1.0, 1.0]],
        ("together", rows): [[21.0]],
        ("one after the other", rows): [[21.0, 14.0, 8.0]],
    }
    said = pipelining.report(found, rows, 150)
    assert "| together | 1 | 21.0 (21.0) | 1.0 | 20.0 | 20.0 |" in said
    assert "| one after the other | 3 | 43.0 (21.0 + 14.0 + 8.0) | 3.0 | 40.0 | 40.0 |" in said
    assert "0.50 of the time" in said
