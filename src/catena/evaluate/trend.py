"""How lucky links were on a pilot, judged by each other and by their prices.

Of links that differ by a point or two, the one that counts best on some hundred items is often only the luckiest. But dearer
links are better as a rule, by how much and how reliably the links themselves show: their accuracies are taken as a line over
the log of the price, plus what each link is off it, and the counts as these accuracies plus chance. Chance is shared, because
the same items are hard for many. How far links are off the line is not known beforehand, so several spreads are tried and
weigh as the counts make them likely (a normal hierarchical model; empirical Bayes, as in Efron and Morris 1975). Where prices
say nothing, only spread is left, and a link far above the line stays where it is.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["weights", "worth"]

Floats = NDArray[np.float64]

OFF = np.geomspace(0.0025, 0.16, 7)  # spreads of links around the line that are tried
ANYWHERE, SLOPE = (
    0.5,
    0.05,
)  # prior deviations: of the line's middle, and of its rise per deviation of the log price
MIDDLE = 0.6
FREE = 0.1  # of the cheapest price: what a link that costs nothing is taken to cost


def worth(hits: Floats, cost: Floats) -> Floats:
    """Return how often each link is probably right on all items, [m].

    Args:
        hits: Whether each link is right about each pilot item, as 0 or 1, [m, n].
        cost: Mean price of each link's votes, [m].
    """
    links, n = hits.shape
    counted, at = hits.mean(1) - MIDDLE, _log_price(cost)
    chance = np.atleast_2d(np.cov(hits)) / n + 1e-7 * np.eye(links)
    line = ANYWHERE**2 + SLOPE**2 * np.outer(at, at)
    found, likely = [], []
    for spread in OFF:
        true = line + spread**2 * np.eye(links)
        known = np.linalg.solve(true + chance, counted)
        found.append(MIDDLE + true @ known)
        likely.append(-0.5 * (counted @ known + np.linalg.slogdet(true + chance)[1]))
    weigh = np.exp(np.array(likely) - max(likely))
    result: Floats = weigh @ np.array(found) / weigh.sum()
    return result


def weights(hits: Floats, cost: Floats) -> Floats:
    """Return weights of the pilot items, 1 on average, by which each link is right as often as it probably is, [n].

    They are those of a regression estimator: a chain's luck is foretold from its links' luck, item by item.

    Args:
        hits: As in `worth`, [m, n].
        cost: Likewise, [m].
    """
    away = hits - hits.mean(1, keepdims=True)
    luck = hits.mean(1) - worth(hits, cost)
    spread = np.atleast_2d(np.cov(hits))
    steady = spread + (1e-3 * float(np.trace(spread)) / len(hits) + 1e-9) * np.eye(len(hits))
    result: Floats = 1 - away.T @ np.linalg.solve(steady, luck)
    return result


def _log_price(cost: Floats) -> Floats:
    """Return log prices, their mean 0 and their deviation 1; zeros where all are the same."""
    paid = cost[cost > 0]
    if not len(paid):
        return np.zeros(len(cost))
    at = np.log(np.maximum(cost, FREE * paid.min()))
    at -= at.mean()
    spread = float(at.std())
    return at / spread if spread > 1e-6 else np.zeros(len(cost))
