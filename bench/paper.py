"""The experiment of LLM Chain Ensembles (arXiv 2410.13006, section 4) with whatever models you can call.

python bench/paper.py --tasks DATA --links links.yaml --out paper-run [--task stance] [--limit 300]
python bench/paper.py --tasks DATA --out paper-run --link 'name=small,kind=openai,model=phi3,base_url=http://localhost:8000/v1,price=free' --link ...
python bench/paper.py --recorded VOTES [--out FOLDER]

DATA holds semeval2016_stance.csv, ibc_ideology.csv and mrf_misinformation.csv; CATENA_TASKS names it too. links.yaml is a
list of links as under `chain:` of a task file. Every link labels every row once, in a run of its own below --out, which
the same command resumes; the votes become one vote table per task. Every order of --length links is then replayed without
a call. The tables go to stdout and, with all figures, to --out/report.txt and --out/report.json. With --recorded, a vote
table that is there already is reported on.

--limit takes rows evenly from the whole set. A later --limit, a new prompt or changed settings need --update (only what
is new is bought); --retry-failed asks again where a link failed for a reason that may have passed.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from catena.data.tables import write_table
from catena.data.votes import VoteTable, read_votes
from catena.engine.run import Run
from catena.errors import CatenaError, InputError
from catena.evaluate.metrics import score
from catena.evaluate.simulate import Simulator
from catena.ledger import Ledger
from catena.ledger.export import export_votes
from catena.task import LinkSpec, TaskSpec, load_task, parse_task

TASKS = {
    "stance": "semeval2016_stance.csv",
    "ideology": "ibc_ideology.csv",
    "misinformation": "mrf_misinformation.csv",
}
LABELS_OF = ("last", "rank", "random")
MEASURES = ("accuracy", "macro_f1")

Report = dict[str, Any]


# -- from models to votes ---------------------------------------------------------------------------------------


def read_links(path: Path | None, given: Sequence[str]) -> tuple[LinkSpec, ...]:
    """Return the links of a YAML list and of `key=value,key=value` texts."""
    links = _chain(path.read_text("utf-8"), str(path)) if path else ()
    for text in given:
        pairs = [pair.partition("=") for pair in text.split(",")]
        if not all(equals for _, equals, _ in pairs):
            raise InputError(f"--link {text}: write name=...,kind=...,key=value.")
        entry = {key.strip(): yaml.safe_load(value) for key, _, value in pairs}
        links += _chain(json.dumps([entry]), f"--link {text}")
    if not links:
        raise InputError("there is no link to ask.", "Name models with --links or --link, see --help.")
    names = [link.name for link in links]
    if len(set(names)) < len(names):
        raise InputError(f"two links have one name: {', '.join(names)}.")
    return links


def _chain(text: str, where: str) -> tuple[LinkSpec, ...]:
    """Read a list of links as a task file would."""
    return parse_task(f"instruction: '-'\nlabels: [a, b]\nchain:\n{textwrap.indent(text, '  ')}", where).chain


def read_task(name: str, links: tuple[LinkSpec, ...], presets: Path | None) -> TaskSpec:
    """Return the preset of a task with these links in place of its own."""
    folder = presets or Path(str(files("catena.prompts"))) / "presets"
    return msgspec.structs.replace(load_task(folder / f"{name}.yaml"), chain=links)


def read_rows(path: Path, limit: int | None) -> Any:
    """Return the file, or a table of `limit` of its rows taken evenly."""
    if limit is None:
        return path
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return pa.Table.from_pylist([rows[at * len(rows) // limit] for at in range(min(limit, len(rows)))])


def collect(task: TaskSpec, rows: Any, folder: Path, **how: bool) -> Path:
    """Let every link label everything, one run each, and return the folder of the vote table of all."""
    tables = []
    for spec in task.chain:
        one, run = msgspec.structs.replace(task, chain=(spec,)), folder / f"run-{spec.name}"
        print(f"{task.name}: {spec.name} ...", file=sys.stderr)
        Run(one, rows, run).execute(**how)
        ledger = Ledger(run)
        try:
            export_votes(ledger, [spec.name], list(task.labels), task.data, folder / "votes")
        finally:
            ledger.close()
        tables.append(pq.read_table(folder / "votes" / "votes.parquet"))
    merged = pa.concat_tables(tables)
    write_table(folder / "votes" / "votes.parquet", merged.schema, merged.to_batches())
    return folder / "votes"


# -- from votes to figures --------------------------------------------------------------------------------------


def singles(votes: VoteTable) -> dict[str, Report]:
    """Return accuracy, macro-F1, failures and cost of each link labelling everything, best first."""
    found = {}
    for link, label, cost in zip(votes.links, votes.label, votes.cost_usd, strict=True):
        known = cost[cost == cost]  # noqa: PLR0124 - NaN
        found[link] = {
            **score(votes.gold, label, votes.labels).brief(),
            "failed": int((label < 0).sum()),
            "cost_usd": float(known.sum()) if len(known) else None,
        }
    return dict(sorted(found.items(), key=lambda pair: (-pair[1]["accuracy"], pair[0])))


def orders(votes: VoteTable, length: int, *, trials: int = 0, seed: int = 0) -> Iterator[Report]:
    """Yield every order of `length` links: its cost and, by rule, accuracy and macro-F1; `random` where there are trials."""
    simulator = Simulator(votes, seed)
    for run in simulator.permutations(length, trials=trials):
        chain, figures = run["chain"], dict(run["aggregates"])
        if trials:
            figures["random"] = run["random"]
        yield {"chain": chain, "cost_usd": run["cost_usd"], **figures}


def beats(found: Sequence[Report], alone: Mapping[str, Report], rule: str, measure: str) -> float:
    """Return the share of orders whose labels by a rule are better than those of the best of their links."""
    won = [order[rule][measure] > max(alone[link][measure] for link in order["chain"]) for order in found]
    return sum(won) / len(won)


def spread(found: Sequence[Report], rule: str, measure: str) -> Report:
    """Return best, median and worst of a measure over orders."""
    values = [order[rule][measure] for order in found]
    return {"best": max(values), "median": statistics.median(values), "worst": min(values)}


def times(cost: float | None, base: float | None) -> float | None:
    """Return a cost as a multiple of another; None where either is unknown or the other is nothing."""
    return None if cost is None or not base else cost / base


def report(votes: VoteTable, length: int, trials: int, seed: int) -> Report:
    """Return all figures of one task."""
    if not (votes.gold >= 0).any():
        raise InputError("the vote table has no gold: there is nothing to compare with.")
    if not 1 <= length <= len(votes.links):
        raise InputError(f"--length {length}: there are {len(votes.links)} links.")
    alone, found = singles(votes), list(orders(votes, length, trials=trials, seed=seed))
    base = alone[next(iter(alone))]["cost_usd"]
    rules = {}
    for rule in LABELS_OF:
        best = max(found, key=lambda order: order[rule]["accuracy"])
        rules[rule] = {
            **{measure: spread(found, rule, measure) for measure in MEASURES},
            "beats_its_best_link": {measure: beats(found, alone, rule, measure) for measure in MEASURES},
            "best_order": best["chain"],
            "best_order_cost": times(best["cost_usd"], base),
        }
    costs = [order["cost_usd"] for order in found if order["cost_usd"] is not None]
    return {
        "items": len(votes),
        "with_gold": int((votes.gold >= 0).sum()),
        "length": length,
        "trials": trials,
        "seed": seed,
        "singles": alone,
        "rules": rules,
        "median_cost": times(statistics.median(costs) if costs else None, base),
        "orders": found,
    }


# -- from figures to tables -------------------------------------------------------------------------------------


def shown(found: Mapping[str, Report]) -> str:
    """Return the reports as plain text."""
    return "\n\n".join(line for name, one in found.items() for line in (_links(name, one), _chains(one)))


def _links(name: str, one: Report) -> str:
    lines = [
        f"{name}: {one['items']:,} items, {one['with_gold']:,} with gold",
        f"{'link, alone':36} {'accuracy':>9} {'macro-F1':>9} {'failed':>7} {'cost':>10}",
    ]
    for link, row in one["singles"].items():
        cost = "-" if row["cost_usd"] is None else f"${row['cost_usd']:.4f}"
        lines.append(
            f"{link:36.36} {row['accuracy']:9.4f} {row['macro_f1']:9.4f} {row['failed']:7,} {cost:>10}"
        )
    return "\n".join(lines)


def _chains(one: Report) -> str:
    lines = [
        f"{len(one['orders']):,} orders of {one['length']} links, equal shares",
        f"{'':17} {'accuracy':>26} {'macro-F1':>26}   {'beats its best link in':>22}",
        f"{'labels':17} {'best   median    worst':>26} {'best   median    worst':>26}   {'accuracy':>11} {'macro-F1':>10}",
    ]
    for rule, row in one["rules"].items():
        name = f"random (mean {one['trials']})" if rule == "random" else rule
        cells = [
            f"{row[measure][which]:8.4f}" for measure in MEASURES for which in ("best", "median", "worst")
        ]
        shares = [f"{row['beats_its_best_link'][measure]:.0%}" for measure in MEASURES]
        lines.append(
            f"{name:17} {' '.join(cells[:3]):>26} {' '.join(cells[3:]):>26}   {shares[0]:>11} {shares[1]:>10}"
        )
    best = one["rules"]["rank"]
    lines.append(
        f"A chain's cost is {_times(one['median_cost'])} the best single link's at the median; "
        f"{_times(best['best_order_cost'])} in the best order by rank: {' > '.join(best['best_order'])}."
    )
    return "\n".join(lines)


def _times(value: float | None) -> str:
    return "an unknown multiple of" if value is None else f"{value:.2f} x"


# -- the command ------------------------------------------------------------------------------------------------


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tasks", type=Path, default=os.environ.get("CATENA_TASKS"), help="folder of the data"
    )
    parser.add_argument(
        "--task", action="append", choices=list(TASKS), help="only this task; may be repeated"
    )
    parser.add_argument("--links", type=Path, help="YAML list of links")
    parser.add_argument(
        "--link", action="append", default=[], help="name=...,kind=...,key=value; may be repeated"
    )
    parser.add_argument(
        "--presets", type=Path, help="folder of other stance.yaml, ideology.yaml, misinformation.yaml"
    )
    parser.add_argument("--out", type=Path, help="folder of the runs, the vote tables and the report")
    parser.add_argument("--recorded", type=Path, help="a vote table to report on; nothing is asked")
    parser.add_argument("--limit", type=int, help="so many rows of each task")
    parser.add_argument("--length", type=int, default=3, help="links in a chain (default 3)")
    parser.add_argument("--trials", type=int, default=20, help="of random routing (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="settles ties and draws (default 0)")
    parser.add_argument(
        "--update", action="store_true", help="rows, prompts or settings changed: buy what is new"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="ask again where a failure may have passed"
    )
    return parser


def tables(given: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of each vote table; ask the models for it where it is not recorded."""
    if given.recorded:
        yield given.recorded.resolve().name, given.recorded
        return
    if given.tasks is None or given.out is None:
        raise InputError("--tasks (or CATENA_TASKS) and --out are needed.", "Or --recorded VOTES.")
    if given.limit is not None and given.limit < 1:
        raise InputError(f"--limit {given.limit}: at least 1 row.")
    links = read_links(given.links, given.link)
    if not 1 <= given.length <= len(links):
        raise InputError(f"--length {given.length}: there are {len(links)} links.")
    for name in given.task or TASKS:
        task = read_task(name, links, given.presets)
        rows = read_rows(Path(given.tasks) / TASKS[name], given.limit)
        yield (
            name,
            collect(task, rows, given.out / name, update=given.update, retry_failed=given.retry_failed),
        )


def main() -> None:
    """Print the tables and write them, with all figures, below --out."""
    given = arguments().parse_args()
    try:
        found = {
            name: report(read_votes(folder), given.length, given.trials, given.seed)
            for name, folder in tables(given)
        }
        text = shown(found)
        print(text)
        if given.out:
            given.out.mkdir(parents=True, exist_ok=True)
            (given.out / "report.txt").write_text(text + "\n", "utf-8")
            (given.out / "report.json").write_text(json.dumps(found, indent=1, allow_nan=False), "utf-8")
    except CatenaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (OSError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
