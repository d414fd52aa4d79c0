"""Dawid-Skene, MACE and GLAD: labels from the votes of many annotators of unknown skill, by the library crowd-kit.

They learn each link's skill from how the links agree, without gold. They hold that a vote is missing by chance. In a chain
votes are missing by confidence, so they are right only where every link was asked about every item.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.errors import MissingExtraError

__all__ = ["METHODS", "crowd"]

METHODS = ("dawid-skene", "mace", "glad")


def crowd(
    method: str, label: NDArray[np.int16], labels: int, seed: int = 0
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return the most probable label of each item and its posterior probability.

    Args:
        method: `dawid-skene` (Dawid & Skene 1979), `mace` (Hovy et al. 2013) or `glad` (Whitehill et al. 2009).
        label: Label index of each vote, -1 where a link that was asked has none, int16 [m, n].
        labels: How many labels there are.
        seed: Of what MACE draws.

    Returns:
        Label index, -1 without any vote, int16 [n]; its probability, NaN without, [n].

    Raises:
        MissingExtraError: crowd-kit is not installed.
    """
    aggregator, frame = _library(method, seed)
    link, item = np.nonzero(label >= 0)
    found, sure = np.full(label.shape[1], -1, np.int16), np.full(label.shape[1], np.nan)
    if not len(item):
        return found, sure
    with warnings.catch_warnings():  # what pandas will change some day
        warnings.simplefilter("ignore")
        votes = frame({"task": item, "worker": link, "label": label[link, item].astype(np.int64)})
        posterior = aggregator.fit_predict_proba(votes)
    chances = np.zeros((label.shape[1], labels))
    chances[np.ix_(posterior.index.to_numpy(), posterior.columns.to_numpy())] = posterior.to_numpy()
    voted = (label >= 0).any(0)
    found[voted] = chances[voted].argmax(1)
    sure[voted] = chances[voted].max(1)
    return found, sure


def _library(method: str, seed: int) -> tuple[Any, Any]:
    """Return crowd-kit's aggregator and the table that it takes."""
    try:
        from crowdkit.aggregation import GLAD, MACE, DawidSkene  # noqa: PLC0415 - an extra, and slow
        from pandas import DataFrame  # noqa: PLC0415 - as above
    except ImportError as error:
        raise MissingExtraError(method, "crowd") from error
    made = {
        "dawid-skene": lambda: DawidSkene(n_iter=100),
        "mace": lambda: MACE(random_state=abs(seed) % 2**32),
        "glad": lambda: GLAD(n_iter=100, silent=True),
    }
    return made[method](), DataFrame
