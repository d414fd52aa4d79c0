"""How often intervals for class shares hold the truth, and how much narrower labels make them: recorded votes of real LLMs.

python bench/estimate.py --recorded FOLDER [--draws 1000] [--gold 100 200 500]      (or CATENA_RECORDED=FOLDER)

For each set, the labels are those of its cheapest link, of the chain of its three cheapest, and of its best link. A random
sample of rows keeps its gold; the shares of all labels among all rows with gold are the truth. "Held" is the share of
(draw, label) pairs whose 95 % interval holds it, "least" that of the label that does worst, "width" the mean width.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from catena.data.votes import VoteTable, read_votes
from catena.evaluate.prevalence import class_shares
from catena.evaluate.simulate import Simulator

SETS = ("arena", "emotion", "mmlu")


def labellings(votes: VoteTable) -> dict[str, np.ndarray]:
    """Return labels to estimate from, by name."""
    cost = np.nan_to_num(votes.cost_usd).mean(1)
    cheap = [votes.links[j] for j in np.argsort(cost, kind="stable")[:3]]
    hits = ((votes.label == votes.gold) & (votes.gold >= 0)).sum(1)
    chain = Simulator(votes).decide(cheap).labels("rank", votes.chain(cheap).label)
    return {
        f"{cheap[0]} (cheapest)": votes.label[votes.links.index(cheap[0])],
        "three cheapest, rank": chain,
        f"{votes.links[int(hits.argmax())]} (best)": votes.label[int(hits.argmax())],
    }


def measure(votes: VoteTable, label: np.ndarray, size: int, draws: int) -> tuple[float, float, float, float]:
    """Return how often intervals hold the truth, how often for the worst label, and mean widths with and without labels."""
    known = np.flatnonzero(votes.gold >= 0)
    gold, label = votes.gold[known], label[known]
    truth = np.bincount(gold, minlength=len(votes.labels)) / len(gold)
    held = np.zeros((draws, len(truth)), bool)
    widths = np.zeros((draws, 2))
    for draw in range(draws):
        sample = np.full(len(gold), -1, np.int16)
        here = np.random.default_rng(draw).permutation(len(gold))[:size]
        sample[here] = gold[here]
        shares = class_shares(sample, label, votes.labels)
        held[draw] = [each.low <= share <= each.high for each, share in zip(shares, truth, strict=True)]
        widths[draw] = np.mean([(s.high - s.low, s.gold_high - s.gold_low) for s in shares], axis=0)
    return float(held.mean()), float(held.mean(0).min()), *widths.mean(0).tolist()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, default=os.environ.get("CATENA_RECORDED"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--gold", type=int, nargs="+", default=[100, 300])
    given = parser.parse_args()
    if not given.recorded:
        parser.error("--recorded names the folder of recorded vote tables.")
    print("| set | labels | accuracy | gold rows | held | least | width | from gold alone |")
    print("| --- | ------ | -------- | --------- | ---- | ----- | ----- | --------------- |")
    for name in SETS:
        votes = read_votes(Path(given.recorded) / name)
        known = votes.gold >= 0
        for whose, label in labellings(votes).items():
            right = (label == votes.gold)[known].mean()
            for size in given.gold:
                held, least, width, alone = measure(votes, label, size, given.draws)
                print(
                    f"| {name} | {whose} | {right:.1%} | {size} | {held:.1%} | {least:.1%} | "
                    f"{100 * width:.1f} | {100 * alone:.1f} |"
                )


if __name__ == "__main__":
    main()
