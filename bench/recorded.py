"""What the paper's rule does on recorded votes of real LLMs: every order of 3 links, in the open.

python bench/recorded.py --recorded FOLDER

FOLDER holds the vote tables `emotion`, `mmlu` and `arena`; CATENA_RECORDED names it too. Equal shares, accuracy against
gold, costs as multiples of what the best single link costs for everything. A median order is the lower one of two.
Price-ascending orders cost no less at each link than at the one before. The output is the same on every machine.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from catena.data.votes import read_votes
from catena.errors import CatenaError, InputError
from paper import Report, beats, orders, singles

SETS = ("emotion", "mmlu", "arena")
LENGTH = 3
SAME_PRICE = 1.0 + 1e-9  # sums of equal prices differ in their last digits
COLUMNS = ("set", "orders", "`rank` beats its best link", "`last` beats its best link", "`last` > `rank`",
           "best by `rank`", "median by `rank`", "median by `last`")  # fmt: skip


def ascending(found: Sequence[Report], alone: dict[str, Report]) -> list[Report]:
    """Return the orders from cheap to dear."""
    cost = {link: single["cost_usd"] for link, single in alone.items()}
    return [
        order
        for order in found
        if all(
            cost[a] <= cost[b] * SAME_PRICE for a, b in zip(order["chain"], order["chain"][1:], strict=False)
        )
    ]


def at(found: Sequence[Report], rule: str, place: float) -> Report:
    """Return the order that stands at a place from the worst (0) to the best (1) by a rule."""
    ranked = sorted(found, key=lambda order: (order[rule]["accuracy"], -order["cost_usd"], order["chain"]))
    return ranked[int((len(ranked) - 1) * place)]


def row(name: str, found: Sequence[Report], alone: dict[str, Report]) -> list[str]:
    """Return the cells of one group of orders."""
    base = next(iter(alone.values()))["cost_usd"]
    over = sum(order["last"]["accuracy"] > order["rank"]["accuracy"] for order in found) / len(found)
    cells = [f"{beats(found, alone, rule, 'accuracy'):.0%}" for rule in ("rank", "last")]
    shown = [(at(found, rule, place), rule) for rule, place in (("rank", 1), ("rank", 0.5), ("last", 0.5))]
    figures = [f"{one[rule]['accuracy']:.3f} at {one['cost_usd'] / base:.2f}x" for one, rule in shown]
    return [name, f"{len(found)}", *cells, f"{over:.0%}", *figures]


def conclusion(name: str, found: Sequence[Report], alone: dict[str, Report]) -> str:
    """Return one line: what who takes the paper's rule gains or loses."""
    link, single = next(iter(alone.items()))
    climbing = ascending(found, alone)
    best, median = at(found, "rank", 1), at(climbing, "rank", 0.5)
    points = [(order["rank"]["accuracy"] - single["accuracy"]) * 100 for order in (median, best)]
    costs = [order["cost_usd"] / single["cost_usd"] for order in (median, best)]
    share = beats(found, alone, "rank", "accuracy")
    verdict = "wins" if share > 0.5 and points[0] > 0 else "loses"
    chain = " > ".join(best["chain"])
    return (
        f"**{name}**: the paper's rule {verdict}. The median price-ascending chain is {points[0]:+.1f} points against the "
        f"best single link ({link}) at {costs[0]:.2f}x its cost; `rank` beats the best link of its own chain in "
        f"{share:.0%} of all orders. In hindsight, the best order ({chain}) is {points[1]:+.1f} points at {costs[1]:.2f}x."
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are as wide as they must be."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [
        "| " + " | ".join(map(str.ljust, map(str, cells), widths)) + " |"
        for cells in [columns, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the tables and the conclusions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, default=os.environ.get("CATENA_RECORDED"))
    given = parser.parse_args()
    best, rows, lines = [], [], []
    try:
        if given.recorded is None:
            raise InputError("--recorded FOLDER (or CATENA_RECORDED) is needed.")
        for name in SETS:
            votes = read_votes(Path(given.recorded) / name)
            alone, found = singles(votes), list(orders(votes, LENGTH))
            link, single = next(iter(alone.items()))
            cost = f"${single['cost_usd']:.4f}"
            best.append([name, f"{len(votes):,}", f"{len(alone)}", link, f"{single['accuracy']:.3f}", cost])
            rows.append(row(f"{name}, all", found, alone))
            rows.append(row(f"{name}, price-ascending", ascending(found, alone), alone))
            lines.append(f"- {conclusion(name, found, alone)}")
    except CatenaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(table(("set", "items", "links", "best single link", "accuracy", "cost (1x)"), best))
    print(f"\nChains of {LENGTH} links, equal shares; accuracy at cost:\n")
    print(table(COLUMNS, rows), "", *lines, sep="\n")


if __name__ == "__main__":
    main()
