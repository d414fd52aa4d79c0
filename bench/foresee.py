"""How often the interval of `catena check --estimate` holds what a run really costs, and how wide it is.

    python bench/foresee.py [--seeds 100] [--first 0] [--rows 50] [--worlds tweets,long,...]

Every world is a data set and a chain against the fake provider, over real HTTP. Its run is made once and says the truth;
then a sample of 50 rows is drawn and asked about by each seed, into a run of its own, and its estimate is laid beside.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import yaml

from catena.engine.run import Run
from catena.evaluate.costing import by_calls, expected_cost
from catena.ledger import Ledger
from catena.task import TaskSpec, parse_task
from catena.testing.answers import Annotator, Reply, call_key, chance
from catena.testing.provider import FakeProvider

LABELS = ["favor", "against", "none", "cannot be told from the text"]
WORDS = [
    "the",
    "a",
    "town",
    "of",
    "we",
    "bus",
    "tax",
    "school",
    "road",
    "never",
    "always",
    "people",
    "think",
    "park",
]
CODEBOOK = "Read the text with care and keep to the rules of the codebook. " * 60
FAULTS = {"429": 0.06, "500": 0.06, "reset": 0.04, "truncated": 0.05, "garbage": 0.04, "no_label": 0.05}


@dataclass(frozen=True)
class World:
    """A data set and a chain.

    Args:
        said: What it is.
        lengths: Draws the characters of each text.
        prices: USD per million tokens of each link.
        task: More keys of the task.
        link: More options of the last link.
        provider: Settings of the fake provider.
        thoughts: Median of the tokens that the last model thinks unseen; they scatter by a factor of 2 and more.
    """

    said: str
    lengths: Callable[[np.random.Generator, int], Any]
    prices: tuple[float, ...]
    task: dict[str, Any] = field(default_factory=dict)
    link: dict[str, Any] = field(default_factory=dict)
    provider: dict[str, Any] = field(default_factory=dict)
    thoughts: int = 0


def tweets(generator: np.random.Generator, count: int) -> Any:
    """Return lengths of short texts."""
    return generator.integers(20, 280, count)


def articles(generator: np.random.Generator, count: int) -> Any:
    """Return lengths of which a few are very large."""
    return np.minimum(generator.lognormal(6.5, 1.2, count), 60_000).astype(int)


WORLDS = {
    "tweets": World("short texts, one link", tweets, (2.0,)),
    "articles": World("heavy-tailed lengths, one link", articles, (2.0,)),
    "shares": World("short texts, three links, equal shares", tweets, (0.2, 1.0, 10.0)),
    "long shares": World("heavy-tailed lengths, three links, equal shares", articles, (0.2, 1.0, 10.0)),
    "threshold": World(
        "short texts, two links, a threshold", tweets, (1.0, 5.0), {"policy": {"threshold": [1.5]}}
    ),
    "agree": World("short texts, three links, two agree", tweets, (0.5, 1.0, 5.0), {"policy": "agree"}),
    "faults": World(
        "short texts, three links, 30 % faults", tweets, (0.2, 1.0, 10.0), provider={"faults": FAULTS}
    ),
    "samples": World(
        "short texts, two links, 5 samples of the last", tweets, (0.2, 2.0), link={"confidence": "samples"}
    ),
    "thoughts": World(
        "short texts, a link that thinks unseen", tweets, (2.0,), link={"max_tokens": 4000}, thoughts=200
    ),
    "cache": World(
        "a codebook in the provider's cache, two links",
        tweets,
        (1.0, 5.0),
        {"instruction": CODEBOOK},
        {"price": {"input": 5.0, "output": 20.0, "cached": 0.5}},
        {"cache_block": 64},
    ),
    "batch": World(
        "short texts, the last link in batches", tweets, (0.5, 5.0), link={"mode": "batch", "poll": 0.05}
    ),
}


@cache
def texts(name: str, count: int) -> list[str]:
    """Return the texts of a world, always the same ones."""
    world = WORLDS[name]
    generator = np.random.Generator(np.random.PCG64(7))
    made = []
    for at, length in enumerate(world.lengths(generator, count)):
        words = " ".join(generator.choice(WORDS, int(length) // 3 + 2))
        made.append(f"{at} {words}"[: max(int(length), 8)])
    return made


def task_of(world: World, base_url: str) -> TaskSpec:
    """Return the task of a world."""
    chain = [
        {
            "name": f"link{at}",
            "kind": "openai",
            "model": f"model{at}",
            "base_url": base_url,
            "price": {"input": price, "output": 4 * price},
        }
        for at, price in enumerate(world.prices)
    ]
    chain[-1] |= world.link
    given = {
        "instruction": "What is the author's stance towards the plan?",
        "labels": LABELS,
        "data": {"id": "id"},
    }
    return parse_task(yaml.safe_dump(given | world.task | {"chain": chain}))


def thinking(world: World) -> Callable[[dict[str, Any]], Reply] | None:
    """Return what answers with unseen thoughts before it; None where no model thinks."""
    if not world.thoughts:
        return None
    model = Annotator(LABELS, sharpness=4.0)

    def answer(asked: dict[str, Any]) -> Reply:
        at = chance("thoughts", call_key(asked["model"], asked["messages"]))
        spread = NormalDist().inv_cdf(min(max(at, 1e-6), 1 - 1e-6))
        return msgspec.structs.replace(model(asked), thought=int(world.thoughts * np.exp(0.7 * spread)))

    return answer


@contextlib.contextmanager
def opened(name: str, count: int) -> Iterator[tuple[TaskSpec, pd.DataFrame]]:
    """Serve a world."""
    world = WORLDS[name]
    settings = {"labels": LABELS, "sharpness": 4.0} | world.provider
    with FakeProvider(thinking(world), **settings) as provider:
        frame = pd.DataFrame({"id": [f"i{at}" for at in range(count)], "text": texts(name, count)})
        yield task_of(world, provider.base_url), frame


def truth(task: TaskSpec, frame: pd.DataFrame) -> float:
    """Run the chain over everything and return what that cost."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        Run(task, frame, out).execute()
        with Ledger(out) as ledger:
            return float(
                sum(ledger.spent(number)["cost_usd"] or 0.0 for number, _ in ledger.links().values())
            )


def estimate(task: TaskSpec, frame: pd.DataFrame, rows: int, seed: int) -> dict[str, Any]:
    """Return what an estimate from a sample says."""
    given, batched = by_calls(msgspec.structs.replace(task, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        return expected_cost(Run(given, frame, Path(folder) / "run"), rows, batched=batched)


def measure(name: str, count: int, rows: int, seeds: int, first: int = 0) -> dict[str, float]:
    """Return how often the interval held the truth, and the mean half-width and error, as shares of it."""
    with opened(name, count) as (task, frame):
        real = truth(task, frame)
    totals = []
    for seed in range(first, first + seeds):
        with opened(name, count) as (task, frame):  # anew: nothing is in its cache
            totals.append(estimate(task, frame, rows, seed)["total"])
    low, mid, high = (np.array([each[f"cost_usd{end}"] for each in totals]) for end in ("_low", "", "_high"))
    return {
        "truth": real,
        "held": float(((low <= real) & (real <= high)).mean()),
        "half": float(((high - low) / 2 / mid).mean()),
        "off": float(np.abs(mid / real - 1).mean()),
        "bias": float((mid / real - 1).mean()),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--count", type=int, default=1000, help="rows of a data set")
    parser.add_argument("--worlds", default=",".join(WORLDS))
    given = parser.parse_args()
    names = [name.strip() for name in given.worlds.split(",")]
    print(f"| world | a run costs | held, of {given.seeds} | mean half-width | mean error | bias |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    found = []
    for name in names:
        began = time.monotonic()
        line = measure(name, given.count, given.rows, given.seeds, given.first)
        found.append(line)
        print(
            f"| {WORLDS[name].said} | ${line['truth']:.4f} | {line['held'] * given.seeds:.0f} | {line['half']:.1%} | "
            f"{line['off']:.1%} | {line['bias']:+.1%} |",
            flush=True,
        )
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    held, half = (float(np.mean([line[key] for line in found])) for key in ("held", "half"))
    print(f"| all | | {held * given.seeds:.1f} | {half:.1%} | | |")


if __name__ == "__main__":
    main()
