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
from catena.errors import InputError
from catena.evaluate.forecast import LEVEL, USED, Amount, Asked, Forecast, Forecaster
from catena.evaluate.lengths import draw_by_length, lengths_of
from catena.ledger import Ledger
from catena.links import open_link
from catena.links.batch import batching_of
from catena.routing import ties
from catena.task import LinkSpec, TaskSpec
from catena.types import Link

__all__ = ["by_calls", "expected_cost"]

PEOPLE = "human"
HALF = 0.5  # of the price: what a batch costs
FEWEST = 8  # rows of a sample of which one may be set apart
TOKENS = ("prompt_tokens", "completion_tokens")
COLD = 0.05  # of what a call costs: less is no cache

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Spent:
    """What a ledger tells of each link: USD, seconds, rows that have an answer; and what was lost in all, USD."""

    usd: Floats
    seconds: Floats
    answered: Floats
    lost: float


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
    people = [spec.name for spec in run.task.chain if spec.kind == PEOPLE]
    names = [link.name for link in run.links if link.name not in people]
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
    facts = {"people": people, "batched": batched, "known": known}
    return _document(run, forecast, len(rows), (before, warm, after), names, facts, keeps=keeps)


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
    usd, seconds, answered = np.zeros((3, len(names)))
    try:
        with Ledger(run.folder) as ledger:
            numbers, lost = ledger.links(), ledger.get("lost") or (0.0,)
            for j, name in enumerate(names):
                if name in numbers:
                    spent = ledger.spent(numbers[name][0])
                    usd[j], seconds[j] = spent["cost_usd"] or 0.0, spent["seconds"]
                    answered[j] = ledger.asked_count(numbers[name][0])[0]
            return _Spent(usd, seconds, answered, lost[0])
    except InputError:  # no run yet
        return _Spent(usd, seconds, answered, 0.0)


def _document(
    run: Run,
    forecast: Forecast,
    count: int,
    spent: tuple[_Spent, _Spent, _Spent],
    names: Sequence[str],
    facts: Mapping[str, Sequence[str]],
    *,
    keeps: bool,
) -> dict[str, Any]:
    """Return all figures, ready for JSON."""
    before, warm, after = spent
    new = after.answered - warm.answered
    links, to_come = [], 0.0
    for j, (link, amounts) in enumerate(zip(run.links, forecast.links, strict=True)):
        name, of = link.name, amounts["rows"].expected
        at = names.index(name) if name in names else None
        quick = at is not None and new[at] > 0 and name not in facts["batched"]
        have = 0.0 if at is None else max(after.answered[at] - forecast.unneeded[j], 0.0)
        to_come += amounts["cost_usd"].expected * (max(1 - have / of, 0.0) if of else 0.0)
        each = float((after.seconds[at] - warm.seconds[at]) / new[at]) if at is not None and quick else None
        links.append(
            {
                "link": name,
                "model": link.capabilities.model,
                **_spread(amounts),
                "seconds": None if each is None else each * of,
                "person": name in facts["people"],
                "half_price": name in facts["batched"],
                "cost_known": name in facts["known"],
            }
        )
    times = [link["seconds"] for link in links if link["seconds"] is not None]
    paid, sample = float(after.usd.sum()), float((after.usd - before.usd).sum())
    more = (after.lost - before.lost) / sample if sample > 0 else 0.0
    return {
        "name": run.task.name,
        "n": run.rows.count,
        "level": LEVEL,
        "sample": {
            "n": count,
            "cost_usd": sample,
            "unneeded_votes": sum(forecast.unneeded),
        },
        "links": links,
        "total": _spread({name: amount for name, amount in forecast.total.items() if name != "rows"}),
        "seconds": max(times, default=None),
        "paid_usd": paid,
        "to_come_usd": float(to_come),
        "budget": _budget(
            run.task, forecast, paid + to_come - forecast.total["cost_usd"].expected if keeps else 0.0, more
        ),
    }


def _spread(amounts: Mapping[str, Amount]) -> dict[str, float]:
    """Return amounts and their ends under names such as cost_usd, cost_usd_low and cost_usd_high."""
    return {
        f"{name}{end}": value
        for name, amount in amounts.items()
        for end, value in (("", amount.expected), ("_low", amount.low), ("_high", amount.high))
    }


def _budget(task: TaskSpec, forecast: Forecast, unneeded: float, lost: float) -> list[dict[str, Any]]:
    """Return each cap of the task beside what it will be asked for.

    Args:
        task: The run's.
        forecast: What it will use.
        unneeded: What is paid for votes that it does not need, USD.
        lost: What answers that get lost come to, at their bounds, for each dollar that is told.
    """
    total, budget = forecast.total, task.budget
    if budget is None:
        return []
    ends = ("expected", "low", "high")
    asked = {
        "usd": [(getattr(total["cost_usd"], end) + unneeded) * (1 + lost) for end in ends],
        "tokens": [sum(getattr(total[name], end) for name in TOKENS) for end in ends],
        "calls": [getattr(total["calls"], end) for end in ends],
    }
    return [
        {"kind": kind, "cap": cap, **dict(zip(ends, asked[kind], strict=True))}
        for kind in ("usd", "tokens", "calls")
        if (cap := getattr(budget, kind)) is not None
    ]
