"""What a run will cost: all links vote on a small random sample of its rows, and the rest is foretold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.aggregate import Votes
from catena.engine.results import run_votes
from catena.engine.routes import check_links
from catena.engine.run import Run
from catena.engine.window import AUTO_START
from catena.evaluate.forecast import LEVEL, USED, Amount, Asked, Forecast, Forecaster
from catena.evaluate.lengths import draw_by_length, lengths_of
from catena.ledger import FILE, Ledger
from catena.links import open_link
from catena.links.batch import batching_of
from catena.routing import ties
from catena.task import BudgetSpec, LinkSpec, TaskSpec
from catena.types import Link

__all__ = ["by_calls", "expected_cost"]

PEOPLE = "human"
HALF = 0.5  # of the price: what a batch costs
FEWEST = 8  # rows of a sample of which one may be set apart
CAPS = {"usd": ("cost_usd",), "tokens": ("prompt_tokens", "completion_tokens"), "calls": ("calls",)}
COLD = 0.05  # of what a call costs: less is no cache

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Spent:
    """What a ledger tells of k links.

    Args:
        used: USD, tokens and calls of each, [k, 3].
        seconds: How long each has worked, [k].
        answered: Rows that have an answer, [k].
        lost: USD, tokens and calls of answers that were lost, at their bounds, [3].
    """

    used: Floats
    seconds: Floats
    answered: Floats
    lost: Floats


@dataclass(frozen=True)
class _Facts:
    """Which links there are, which were asked, which the run asks in batches, and which tell their costs."""

    links: Sequence[str]
    asked: Sequence[str]
    batched: Sequence[str]
    known: Sequence[str]


def by_calls(task: TaskSpec) -> tuple[TaskSpec, list[str]]:
    """Return the task with every link asked call by call, and the names of those that it asks in batches.

    A batch may take a day; its votes are those that calls would bring, at half the price.

    Raises:
        TaskError: The policy does not allow the batches.
    """
    links = [open_link(spec, task) for spec in task.chain]
    check_links(task.judge(), links)
    batched = [link.name for link in links if batching_of(link)]
    chain = tuple(
        LinkSpec(spec.name, spec.kind, {k: v for k, v in spec.options.items() if k != "mode"})
        if spec.name in batched
        else spec
        for spec in task.chain
    )
    return msgspec.structs.replace(task, chain=chain), batched


def expected_cost(
    run: Run,
    count: int,
    *,
    batched: Sequence[str] = (),
    keeps: bool = True,
    watch: Callable[[Any], Any] | None = None,
) -> dict[str, Any]:
    """Let all links of a run vote on a random sample, and return what the run will use, with 90 % intervals.

    One row of the sample is asked about before the others: it fills the caches of providers and counts for nothing else.

    Args:
        run: The task, asked call by call (see `by_calls`), over its rows in its folder, whose ledger keeps the votes.
        count: Rows of the sample.
        batched: Links that the real run asks in batches.
        keeps: Whether the real run is one in this folder, so that the sample counts in its budget.
        watch: Called with the counts when the work begins.

    Raises:
        InputError: No row can be asked about.
        StoppedError: The run stopped; what was bought is kept, and the same command goes on.
    """
    names = [spec.name for spec in run.task.chain if spec.kind != PEOPLE]
    lengths = lengths_of(run.links, run.rows, run.task.max_chars)
    rows = draw_by_length(lengths, count, run.task.seed)
    before = _spent(run, names)
    run.ask(rows[:1].tolist(), names, watch=watch)
    warm = _spent(run, names)
    run.ask(np.sort(rows).tolist(), names, watch=watch)
    after = _spent(run, names)
    everything = int((~np.isnan(lengths.text)).sum())
    everyone, known = _asked(run, rows, lengths.ids, batched)
    enough = len(rows) == everything or len(rows) < FEWEST
    asked = everyone if enough else everyone.part(np.arange(1, len(rows)))
    cold = np.zeros(len(run.links)) if enough else _cold(everyone, run.links)
    forecast = Forecaster(run.task.judge(), asked, lengths.size, lengths.once, cold).forecast(everything)
    facts = _Facts([link.name for link in run.links], names, batched, known)
    return _document(run, forecast, len(rows), (before, warm, after), facts, keeps=keeps)


def _cold(asked: Asked, links: Sequence[Link]) -> Floats:
    """Return what the first calls of a run pay beyond the others since no cache is filled yet, at each link, USD [m].

    They are those in flight until the first one ends. Each pays what the first row of the sample has cost beyond what the
    others' calls and tokens cost.
    """
    found = np.zeros(len(links))
    for j, link in enumerate(links):
        facts = np.column_stack([np.ones(len(asked)), asked.used[j, :, :-1]])
        usd = asked.used[j, :, -1]
        paid = np.flatnonzero(usd > 0)
        if len(paid) < FEWEST or paid[0] != 0:
            continue
        weights = np.linalg.lstsq(facts[paid[1:]], usd[paid[1:]])[0]
        more = usd[0] - facts[0] @ weights
        found[j] = more * (link.capabilities.concurrency or AUTO_START) if more > COLD * usd[0] else 0.0
    return found


def _asked(
    run: Run, rows: NDArray[np.int64], ids: Sequence[str], batched: Sequence[str]
) -> tuple[Asked, list[str]]:
    """Return what the ledger holds about the sample, at the prices of the run, and the links whose costs are known."""
    place = {row: at for at, row in enumerate(rows.tolist())}
    used = np.zeros((len(run.links), len(rows), len(USED) - 1))
    known = []
    with Ledger(run.folder) as ledger:
        numbers = ledger.links()
        for j, link in enumerate(run.links):
            number = numbers.get(link.name, (0, b""))[0]
            costs, half = [], HALF if link.name in batched and not ledger.batches(number) else 1.0
            for row, _, answer, _ in ledger.answers(number):
                if (at := place.get(row)) is not None:
                    use, usd = answer.usage, answer.usage.cost_usd
                    costs.append(usd)
                    used[j, at] = use.calls, use.prompt_tokens, use.completion_tokens, half * (usd or 0.0)
            if number == 0 and (most := link.most("")) is not None:  # people, at what they take for an item
                costs, used[j, :, -1] = [most.cost_usd], most.cost_usd or 0.0
            known += [link.name] if any(cost is not None for cost in costs) else []
        found = run_votes(ledger, run.task)
    index = [found.links.index(link.name) if link.name in found.links else -1 for link in run.links]
    votes = _votes(run, found, index, rows)
    if votes.cost_usd is not None:
        votes.cost_usd[:] = used[:, :, -1]
    return Asked(rows, votes, used, ties([ids[row] for row in rows.tolist()], run.task.seed)), known


def _votes(run: Run, found: Any, index: Sequence[int], rows: NDArray[np.int64]) -> Votes:
    """Return the votes on the sample; a link that was not asked (a person) has none."""
    label = np.full((len(index), len(rows)), -1, np.int16)
    sure = np.full(label.shape, np.nan)
    paid = np.zeros(label.shape) if run.task.policy.spend is not None else None
    words = []
    for j, at in enumerate(index):
        if at >= 0:
            label[j], sure[j] = found.label[at, rows], found.confidence[at, rows]
        words.append(found.logprobs[at][rows] if at >= 0 and found.logprobs[at] is not None else None)
    return Votes(label, sure, words, paid)


def _spent(run: Run, names: Sequence[str]) -> _Spent:
    k = len(names)
    found = _Spent(np.zeros((k, len(CAPS))), np.zeros(k), np.zeros(k), np.zeros(len(CAPS)))
    if not (run.folder / FILE).exists():
        return found
    with Ledger(run.folder) as ledger:
        found.lost[:] = ledger.get("lost") or 0.0
        numbers = ledger.links()
        for j, name in enumerate(names):
            if name in numbers:
                number = numbers[name][0]
                spent = ledger.spent(number)
                tokens = spent["prompt_tokens"] + spent["completion_tokens"]
                found.used[j] = spent["cost_usd"] or 0.0, tokens, spent["calls"]
                found.seconds[j], found.answered[j] = spent["seconds"], ledger.asked_count(number)[0]
    return found


def _document(
    run: Run,
    forecast: Forecast,
    count: int,
    spent: tuple[_Spent, _Spent, _Spent],
    facts: _Facts,
    *,
    keeps: bool,
) -> dict[str, Any]:
    """Return all figures, ready for JSON."""
    before, warm, after = spent
    seconds = _seconds(warm, after, forecast, facts)
    links = [
        {
            "link": link.name,
            "model": link.capabilities.model,
            **_spread(amounts),
            "seconds": seconds[link.name],
            "person": link.name not in facts.asked,
            "half_price": link.name in facts.batched,
            "cost_known": link.name in facts.known,
        }
        for link, amounts in zip(run.links, forecast.links, strict=True)
    ]
    sample, to_come = (after.used - before.used).sum(0), _to_come(after, forecast, facts)
    lost = np.divide(after.lost - before.lost, sample, out=np.zeros(len(CAPS)), where=sample > 0)
    kept = after.used.sum(0) + to_come if keeps else None
    return {
        "name": run.task.name,
        "n": run.rows.count,
        "level": LEVEL,
        "sample": {"n": count, "cost_usd": float(sample[0]), "unneeded_votes": sum(forecast.unneeded)},
        "links": links,
        "total": _spread({name: amount for name, amount in forecast.total.items() if name != "rows"}),
        "seconds": max((each for each in seconds.values() if each is not None), default=None),
        "paid_usd": float(after.used[:, 0].sum()),
        "to_come_usd": float(to_come[0]),
        "budget": _budget(run.task.budget, forecast, kept, 1 + lost),
    }


def _seconds(warm: _Spent, after: _Spent, forecast: Forecast, facts: _Facts) -> dict[str, float | None]:
    """Return how long each link takes at the rate of the sample; None where it was not asked, or goes another way."""
    found: dict[str, float | None] = dict.fromkeys(facts.links)
    for at, name in enumerate(facts.asked):
        new = after.answered[at] - warm.answered[at]
        if new > 0 and name not in facts.batched:
            rows = forecast.links[facts.links.index(name)]["rows"].expected
            found[name] = float((after.seconds[at] - warm.seconds[at]) / new * rows)
    return found


def _to_come(after: _Spent, forecast: Forecast, facts: _Facts) -> Floats:
    """Return USD, tokens and calls that are still to pay where the ledger keeps the votes that it has."""
    found = np.zeros(len(CAPS))
    for j, (name, amounts) in enumerate(zip(facts.links, forecast.links, strict=True)):
        rows = amounts["rows"].expected
        answered = after.answered[facts.asked.index(name)] if name in facts.asked else 0.0
        lacking = max(1 - max(answered - forecast.unneeded[j], 0.0) / rows, 0.0) if rows else 0.0
        found += [lacking * sum(amounts[part].expected for part in CAPS[cap]) for cap in CAPS]
    return found


def _spread(amounts: Mapping[str, Amount]) -> dict[str, float]:
    """Return amounts and their ends under names such as cost_usd, cost_usd_low and cost_usd_high."""
    return {
        f"{name}{end}": value
        for name, amount in amounts.items()
        for end, value in (("", amount.expected), ("_low", amount.low), ("_high", amount.high))
    }


def _budget(
    budget: BudgetSpec | None, forecast: Forecast, kept: Floats | None, lost: Floats
) -> list[dict[str, Any]]:
    """Return each cap beside what it will be asked for.

    Args:
        budget: The task's.
        forecast: What the run will use.
        kept: What it will use with all that its ledger holds, [3]; None where the sample's votes are not in it.
        lost: By how many times that grows with answers that get lost, which count at their bounds, [3].
    """
    found = []
    for at, (kind, parts) in enumerate(CAPS.items()):
        cap = None if budget is None else getattr(budget, kind)
        if cap is None:
            continue
        low, expected, high = (
            sum(getattr(forecast.total[part], end) for part in parts) for end in ("low", "expected", "high")
        )
        more = 0.0 if kept is None else float(kept[at]) - expected
        said = {"expected": expected, "low": low, "high": high}
        times = float(lost[at])
        found.append(
            {"kind": kind, "cap": cap} | {end: (value + more) * times for end, value in said.items()}
        )
    return found
