"""What a task would do, before it does it: a few calls per link, and the most that a run can cost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.data.rows import Rows
from catena.engine.budget import Budget
from catena.engine.resolve import Inquirer, items_to_ask
from catena.engine.routes import check_links
from catena.engine.templates import check_templates, names_used
from catena.errors import CatenaError, DataError, LinkError
from catena.links import open_link
from catena.links.ladder import Climb, climb, has_rungs, is_open, with_options
from catena.links.reading import answers_of
from catena.prompts import with_examples
from catena.task import LinkSpec, TaskSpec
from catena.types import NOTHING_USED, Item, Link, Vote, together

__all__ = ["check_task", "most_usd"]

WAYS = ("first-token", "likelihood", "systemone")
ALONE = ("confidence", "samples", "codes", "think", "mode", "shard", "batches", "poll", "scoring")
"""Options that don't go with a server's own scores."""
EXAMPLE = "This is a short example."


def check_task(task: TaskSpec, rows: Rows | None) -> dict[str, Any]:
    """Call each link a few times, find out what its server gives, and bound the cost of a run.

    Args:
        task: The task.
        rows: The data, where it is at hand; without it no cost is bounded and a made-up text is asked about.

    Returns:
        `n`, `links` (link, kind, model, answered, label, confidence, batch, concurrency, latency_ms, error, most_usd, paid_usd,
        price, rate, gives, offered, recommended), `most_usd`: an upper bound in USD, retries apart, as if every byte of a prompt were a token
        and the dearest items went on, and `paid_usd`: what the calls of this check cost, as far as prices are known. `gives`
        is what the server was found to give, `offered` what a task may say so that it scores labels itself, `recommended` the way to a confidence that `confidence: auto` would take; both
        are None for kinds of links that have no choice.

    Raises:
        TaskError: The task does not fit its links or the columns.
    """
    task = with_examples(task)
    judge = task.judge()
    reach = judge.policy.expects(rows.count if rows is not None else 0, len(task.chain))
    links = [open_link(spec, task) for spec in task.chain]
    check_links(judge, links)
    if rows is not None:
        check_templates(task, links, rows)
    item = next(iter(rows))[0] if rows is not None else _example(task, links)
    items = items_to_ask(rows, task.max_chars) if rows is not None else [item]
    called = asyncio.run(_call_all(task, links, item, items))
    links = [_as_found(spec, task, result) for spec, result in zip(task.chain, called, strict=True)]
    most = (
        [None] * len(links)
        if rows is None
        else most_usd(links, rows, [rows.count if n is None else n for n in reach])
    )
    for spec, link, result, usd in zip(task.chain, links, called, most, strict=True):
        can = link.capabilities
        result |= {"kind": spec.kind, "most_usd": usd, "batch": can.batch, "concurrency": can.concurrency}
        parts = (result["gives"], result["recommended"])
        result["paid_usd"] += sum(part["cost_usd"] or 0.0 for part in parts if part)
    known = [usd for usd in most if usd is not None]
    return {
        "name": task.name,
        "n": rows.count if rows is not None else None,
        "links": called,
        "most_usd": sum(known) if known and len(known) == len(most) else None,
        "paid_usd": sum(result["paid_usd"] for result in called),
    }


def _example(task: TaskSpec, links: list[Link]) -> Item:
    names = names_used(task, links)
    return Item(0, "1", EXAMPLE, dict.fromkeys(names, "example"), "example" if task.data.target else None)


def _as_found(spec: LinkSpec, task: TaskSpec, result: dict[str, Any]) -> Link:
    """Return a link as a run would open it: what the task leaves open is as it was found."""
    best = result["recommended"]
    return open_link(with_options(spec, best["options"]) if best and is_open(spec) else spec, task)


async def _call_all(
    task: TaskSpec, links: list[Link], item: Item, items: Sequence[Item]
) -> list[dict[str, Any]]:
    results = []
    for spec, link in zip(task.chain, links, strict=True):
        try:
            result = await _call(link, items or [item])
            result |= {"gives": await _probe(link, item) if result["answered"] else None, "recommended": None}
            if result["gives"]:
                result["gives"]["scoring"] = await _scoring(spec, task, item)
                result["offered"] = offered(result["gives"]["scoring"], spec, task)
        finally:
            await link.close()
        result.setdefault("offered", [])
        if result["answered"] and has_rungs(spec, task):
            result["recommended"] = await _recommend(spec, task, items)
        results.append(result)
    return results


async def _probe(link: Link, item: Item) -> dict[str, Any] | None:
    if not hasattr(link, "probe"):
        return None
    found: dict[str, Any] = msgspec.to_builtins(await link.probe(link.render(item)))
    return found


async def _scoring(spec: LinkSpec, task: TaskSpec, item: Item) -> list[str]:
    """Return the ways in which a link's server scores labels itself; a provider's own address offers none."""
    found: list[str] = []
    for way in WAYS if spec.options.get("base_url") else ():
        kept = {name: value for name, value in spec.options.items() if name not in ALONE}
        try:
            link = open_link(LinkSpec(spec.name, spec.kind, {**kept, "scoring": way}), task)
            try:
                link.ready()
                (answer,) = await link.ask([link.render(item)])
            finally:
                await link.close()
        except CatenaError:
            continue
        if isinstance(answer, Vote) and answer.confidence is not None:
            found.append(way)
    return found


def offered(ways: Sequence[str], spec: LinkSpec, task: TaskSpec) -> list[dict[str, Any]]:
    """Return what a task may say so that the link's server scores the labels, and the calls that each takes of a row.

    Args:
        ways: In which it does; those that the link says already are left out.
        spec: The link's entry.
        task: The task.
    """
    if spec.options.get("scoring", "answer") != "answer":
        return []
    calls = {"likelihood": len(answers_of(task))}
    return [{"options": {"scoring": way}, "calls": calls.get(way, 1)} for way in ways]


async def _recommend(spec: LinkSpec, task: TaskSpec, items: Sequence[Item]) -> dict[str, Any]:
    """Return the best way to a confidence that the link's server allows, and what finding that out took."""
    inquirer = Inquirer(Budget(None, NOTHING_USED), items)
    try:
        found = await climb(spec, task, inquirer.ask)
    except LinkError as error:
        found = Climb({}, "none", str(error), ())
    used = together([NOTHING_USED, *inquirer.used])
    said: dict[str, Any] = msgspec.to_builtins(found)
    return said | {"calls": used.calls, "cost_usd": used.cost_usd}


async def _call(link: Link, items: Sequence[Item]) -> dict[str, Any]:
    """Ask about one item, and about the next where the answer is no use: one odd answer says little of a model."""
    result: dict[str, Any] = {
        "link": link.name,
        "model": link.capabilities.model,
        "answered": False,
        "label": None,
        "paid_usd": 0.0,
    }
    result |= {"confidence": "none", "latency_ms": None, "error": None, "rate": None}
    result["price"] = msgspec.to_builtins(getattr(link, "price", None))
    for item in items:
        try:
            link.ready()
            (answer,) = await link.ask([link.render(item)])
        except CatenaError as error:
            return result | {"error": str(error)}
        result["paid_usd"] += answer.usage.cost_usd or 0.0
        result["latency_ms"], result["rate"] = answer.usage.latency_ms, msgspec.to_builtins(answer.rate)
        if isinstance(answer, Vote):
            return result | {
                "answered": True,
                "label": answer.label,
                "confidence": answer.source,
                "error": None,
            }
        # A replay link may lack the vote of the one item that was asked about, and any may say that it can't tell.
        result |= {"answered": answer.reason in {"missing", "abstained"}, "error": answer.message}
        if result["answered"]:
            break
    return result


def most_usd(links: Sequence[Link], rows: Rows, received: Sequence[int]) -> list[float | None]:
    """Bound what each link costs in USD, retries apart: the dearest items that it can receive; None without a price."""
    prices = np.zeros((len(links), rows.count))
    for block in rows:
        for item in block:
            for at, link in enumerate(links):
                usd = _most_usd(link, item)
                prices[at, item.row] = np.nan if usd is None else usd
    return [_sum_of_largest(row, n) for row, n in zip(prices, received, strict=True)]


def _most_usd(link: Link, item: Item) -> float | None:
    try:
        most = link.most(link.render(item))
    except DataError:  # a row that the template fails on is a failed row, without a call
        return 0.0
    return most.cost_usd if most else None


def _sum_of_largest(prices: NDArray[np.float64], n: int) -> float | None:
    if np.isnan(prices).any():
        return None
    return float(np.sort(prices)[len(prices) - n :].sum())
