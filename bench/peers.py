"""This product beside other tools and bare clients, against one server, asked the same prompts, in one run.

python bench/make_peers.py      once: installs them under bench/.peers/; wrk is a package of the system (apt-get install wrk)
python bench/peers.py [--runs 5] [--rows 12000] [--some 3000] [--few 200] [--concurrency 256] [--latency 100] [--only NAME ...]

Every tool is a process of its own (bench/drivers/), set as fast as its documentation allows, with the same number of calls
in flight where it can have several; the prompts are those that catena renders. Rounds go through all tools in turn, so that
a drift of the machine hits all alike; figures are medians over the rounds. Each round also runs every tool on one row: that
is its start-up, which is taken off where a figure says so. Not the same work: catena and chain-ensembles also score labels
by log-probabilities, and catena keeps a ledger; the clients only ask. Nothing here fails by time.
"""

import argparse
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import make_peers
from catena.data.rows import read_rows
from catena.prompts import Prompter
from catena.task import load_task
from endpoint import compile_server, label, link, serving, write_rows, write_task
from measure import Cost, machine, median, run, table

DRIVERS = Path(__file__).with_name("drivers")
SECONDS_OF_WRK = 5
LEAST_SECONDS = 0.5


@dataclass(frozen=True)
class Tool:
    """What is compared.

    Args:
        name: As the table shows it.
        peer: Whose environment it needs, of `make_peers.PEERS`; empty for none.
        driver: File in bench/drivers; empty for catena.
        size: Which count of rows it gets: `rows`, `some` or `few`.
        free: Whether it is also run without latency.
    """

    name: str
    peer: str
    driver: str
    size: str
    free: bool = False


TOOLS = (
    Tool("catena run", "", "", "rows", free=True),
    Tool("wrk (C, no client work)", "", "wrk.lua", "rows", free=True),
    Tool("pyreqwest loop (no scoring)", "pyreqwest", "pyreqwest_loop.py", "rows", free=True),
    Tool("openai", "openai", "openai_sdk.py", "rows"),
    Tool("litellm", "litellm", "litellm_sdk.py", "some"),
    Tool("bespokelabs-curator", "bespokelabs-curator", "curator.py", "rows"),
    Tool("chain-ensembles (one at a time)", "chain-ensembles", "chain_ensembles_chain.py", "few"),
    Tool("refuel-autolabel (one at a time)", "refuel-autolabel", "autolabel_agent.py", "few"),
)


class Bench:
    """One data set, its prompts, and what runs a tool over them.

    Args:
        folder: Where files go.
        rows: The most rows.
        concurrency: Calls in flight.
    """

    def __init__(self, folder: Path, rows: int, concurrency: int) -> None:
        self.folder = folder
        self.concurrency = concurrency
        self._task, self._prompts, self._bodies = (
            folder / name for name in ("task.yaml", "prompts.json", "bodies.jsonl")
        )
        write_rows(folder / f"{rows}.csv", rows)
        self.point_at("http://127.0.0.1:1/v1")
        task = load_task(self._task)
        render = Prompter(task)
        blocks = read_rows(folder / f"{rows}.csv", task.data, task.labels.keys())
        prompts = [render(item) for block in blocks for item in block]
        self._prompts.write_text(json.dumps(prompts), "utf-8")
        self._bodies.write_text("\n".join(map(_body, prompts)), "utf-8")

    def point_at(self, base_url: str) -> None:
        """Ask this server from now on."""
        self._base_url = base_url
        write_task(self._task, [link("mock", base_url, concurrency=self.concurrency)])

    def cost(self, tool: Tool, rows: int) -> tuple[Cost, int]:
        """Run a tool over so many rows; returns what it took and how many calls that were."""
        here = self.folder / "work"
        here.mkdir()
        try:
            if not tool.driver:
                return self._catena(here, rows)
            return self._wrk() if tool.driver.endswith(".lua") else self._peer(tool, here, rows)
        finally:
            shutil.rmtree(here)

    def _catena(self, here: Path, rows: int) -> tuple[Cost, int]:
        data = self.folder / f"{rows}.csv"
        if not data.exists():
            write_rows(data, rows)
        return label(self._task, data, here / "run", rows), rows

    def _wrk(self) -> tuple[Cost, int]:
        url = f"{self._base_url}/chat/completions"
        sizes = ["-t1", f"-c{self.concurrency}", f"-d{SECONDS_OF_WRK}s", "--timeout", "30s"]
        cost, said = run(["wrk", *sizes, "-s", DRIVERS / "wrk.lua", url, "--", self._bodies])
        done = re.search(r"(\d+) requests in", said)
        if done is None or "Non-2xx" in said:
            raise SystemExit(f"error: wrk: {' / '.join(said.splitlines())}")
        return cost, int(done[1])

    def _peer(self, tool: Tool, here: Path, rows: int) -> tuple[Cost, int]:
        arguments = [self._base_url, self._prompts, str(rows), str(self.concurrency)]
        command = [make_peers.python_of(tool.peer), DRIVERS / tool.driver, *arguments]
        cost, said = run(command, cwd=here, env=_environment(here))
        labelled = json.loads(said.splitlines()[-1])["labelled"]
        if labelled != rows:
            raise SystemExit(f"error: {tool.name}: {labelled} of {rows} prompts have an answer.")
        return cost, rows


def _body(prompt: str) -> str:
    """Return the request that catena sends."""
    messages = [{"role": "user", "content": prompt}]
    asked = {"temperature": 0, "max_tokens": 16, "logprobs": True, "top_logprobs": 20}
    return json.dumps({"model": "mock", "messages": messages, **asked})


def _environment(home: Path) -> dict[str, str]:
    """Return an environment in which a peer finds nothing of ours, reports nothing and downloads nothing."""
    encodings = make_peers.FOLDER.glob("litellm/lib/*/site-packages/litellm/litellm_core_utils/tokenizers")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TIKTOKEN_CACHE_DIR": str(next(encodings, home)),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TELEMETRY_ENABLED": "false",
        "HF_HUB_OFFLINE": "1",
        "CURATOR_CACHE_DIR": str(home / "curator"),
    }


def absent(tool: Tool) -> str:
    """Return why a tool can't be run here; empty if it can."""
    if tool.driver.endswith(".lua"):
        return "" if shutil.which("wrk") else "not installed: apt-get install wrk"
    if tool.peer and not make_peers.installed(tool.peer):
        return f"not installed: python bench/make_peers.py {tool.peer}"
    return ""


@dataclass(frozen=True)
class Figures:
    """What the rounds found of one tool.

    Args:
        calls: Per run.
        whole: Medians of the runs.
        start: Medians of the runs over one row, less one latency; nothing for wrk.
    """

    calls: int
    whole: Cost
    start: Cost

    @property
    def rate(self) -> float:
        """Calls a second, start-up included."""
        return self.calls / self.whole.wall

    @property
    def pace(self) -> float | None:
        """Calls a second beyond the start-up; None where that is too short a time to tell."""
        beyond = self.whole.wall - self.start.wall
        return self.calls / beyond if beyond >= LEAST_SECONDS else None

    @property
    def cpu(self) -> float | None:
        """CPU seconds for 1,000 calls beyond the start-up; None as for `pace`."""
        return None if self.pace is None else max(self.whole.cpu - self.start.cpu, 0.0) / self.calls * 1000


class Round:
    """A tool and what its runs took so far.

    Args:
        tool: Which.
        latency: Of the server, in milliseconds.
        base_url: The server.
    """

    def __init__(self, tool: Tool, latency: int, base_url: str) -> None:
        self.tool = tool
        self.latency = latency
        self.fault = ""
        self._base_url = base_url
        self._runs: list[tuple[Cost, int]] = []
        self._starts: list[Cost] = []

    def go(self, bench: Bench, rows: int) -> None:
        """Run the tool once more; one that fails is not run again, and `fault` says why."""
        if self.fault:
            return
        bench.point_at(self._base_url)
        try:
            if not self.tool.driver.endswith(".lua"):
                self._starts.append(bench.cost(self.tool, 1)[0])
            self._runs.append(bench.cost(self.tool, rows))
        except SystemExit as error:
            if not self.tool.driver:
                raise
            self.fault = str(error)

    def figures(self) -> Figures:
        """Return the medians."""
        start = median(self._starts) if self._starts else Cost(0.0, 0.0, 0.0, 0.0)
        start = replace(start, wall=max(start.wall - self.latency / 1000, 0.0))
        calls = sorted(calls for _, calls in self._runs)[len(self._runs) // 2]
        return Figures(calls, median([cost for cost, _ in self._runs]), start)


def line(tool: str, latency: int, found: Figures, ours: Figures, floor: float) -> dict[str, str]:
    """Return a line of the table; `floor` is the memory that any child of this process shows, in MB."""
    ahead = ours.pace / found.pace if ours.pace and found.pace else None
    return {
        "tool": tool,
        "latency": f"{latency} ms",
        "calls": f"{found.calls:,}",
        "wall s": f"{found.whole.wall:.2f}",
        "start-up s": f"{found.start.wall:.2f}" if found.start.wall else "-",
        "calls/s": f"{found.rate:,.0f}",
        "beyond start-up": _or_dash(found.pace, ",.0f"),
        "CPU s / 1,000 calls": _or_dash(found.cpu, ".3f"),
        "peak MB": f"{found.whole.peak:.0f}" if found.whole.peak > floor else f"< {floor:.0f}",
        "catena is": f"{ours.rate / found.rate:.1f}x",
        "catena is, beyond start-up": _or_dash(ahead, ".1f", "x"),
    }


def _or_dash(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def measure(tools: Sequence[Tool], given: argparse.Namespace) -> list[Round]:
    """Go through the tools as often as asked, each with latency and some without."""
    plan = [(tool, given.latency) for tool in tools]
    plan += [(tool, 0) for tool in tools if tool.free and given.latency]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder, max(given.rows, given.some, given.few), given.concurrency)
        program = compile_server(folder)
        with serving(program, "-d", str(given.latency)) as slow, serving(program, "-d", "0") as fast:
            rounds = [Round(tool, latency, slow if latency else fast) for tool, latency in plan]
            for _ in range(given.runs):
                for each in rounds:
                    each.go(bench, getattr(given, each.tool.size))
    return rounds


def report(rounds: Sequence[Round], floor: float) -> str:
    """Return the table of the tools that did not fail."""
    sound = [(each, each.figures()) for each in rounds if not each.fault]
    ours = {each.latency: found for each, found in sound if not each.tool.driver}
    return table(
        [line(each.tool.name, each.latency, found, ours[each.latency], floor) for each, found in sound]
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="rounds")
    parser.add_argument("--rows", type=int, default=12_000, help="for catena and tools of its order")
    parser.add_argument("--some", type=int, default=3_000, help="for slower tools with calls in flight")
    parser.add_argument("--few", type=int, default=200, help="for tools that ask one question at a time")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--latency", type=int, default=100, help="milliseconds")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of tools, or their beginnings")
    given = parser.parse_args()
    tools = [tool for tool in TOOLS if not given.only or tool.name.startswith(("catena", *given.only))]
    where = machine()
    missing = {tool.name: reason for tool in tools if (reason := absent(tool))}
    rounds = measure([tool for tool in tools if tool.name not in missing], given)
    floor = run(["true"])[0].peak * 1.05
    print(
        f"{where}\n\nConcurrency {given.concurrency}; bench/mock_server.c; medians of {given.runs} rounds\n"
    )
    print(f"{report(rounds, floor)}\n\n{_meaning(given.latency, given.concurrency)}")
    for name, reason in {**missing, **{each.tool.name: each.fault for each in rounds if each.fault}}.items():
        print(f"- {name} is left out: {reason}")


def _meaning(latency: int, concurrency: int) -> str:
    bound = f"{concurrency / latency * 1000:,.0f} calls/s" if latency else "none"
    return f"""\
- Bound at {latency} ms: concurrency / latency = {bound}.
- Start-up: the same tool on one row, less one latency. Calls/s are calls / wall; beyond start-up, calls / (wall - start-up).
- CPU s / 1,000 calls: user + system of the tool's processes, never the server's, less those of its start-up.
- Catena is: its calls/s over the tool's. With few calls start-up is most of a wall time: then look at the last column."""


if __name__ == "__main__":
    main()
