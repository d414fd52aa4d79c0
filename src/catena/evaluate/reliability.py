"""Whether a confidence says anything: how well it ranks right above wrong, and whether its probabilities are true."""

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Bin",
    "CoverageRisk",
    "auroc",
    "calibration_error",
    "coverage_risk",
    "expected_calibration_error",
    "reliability_diagram",
]

BINS = 15  # Guo et al. 2017
POINTS = 100


class Bin(msgspec.Struct, frozen=True):
    """One bin of a reliability diagram: how many labels have such a probability, its mean, and how often they are right."""

    low: float
    high: float
    n: int
    mean_probability: float | None
    hit_rate: float | None


class CoverageRisk(msgspec.Struct, frozen=True):
    """The share of wrong labels among the surest ones.

    Args:
        area: Mean risk over all coverages 1/n, 2/n ... 1: the AURC of Geifman, Uziel & El-Yaniv 2019; lower is better.
        coverage: At most 100 of them, ascending to 1.
        risk: At each.
    """

    area: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]


def auroc(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Return the probability that a right vote is surer than a wrong one, a tie counting half; None without both.

    Args:
        confidence: NaN counts as the lowest, [n].
        right: Whether each vote is right, bool [n].
    """
    hits = int(right.sum())
    misses = len(right) - hits
    if not hits or not misses:
        return None
    _, place, count = np.unique(
        np.where(np.isnan(confidence), -np.inf, confidence), return_inverse=True, return_counts=True
    )
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * misses))


def calibration_error(chance: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float | None:
    """Return the expected calibration error: mean gap between probability and hit rate over bins of equal counts.

    Args:
        chance: Probability of each label given, [n].
        right: Whether it is right, bool [n].
        bins: Fewer where there are fewer items.
    """
    if not len(chance):
        return None
    order = np.argsort(chance, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(float(chance[part].mean() - right[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(order)


def reliability_diagram(
    chance: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS
) -> tuple[Bin, ...]:
    """Return bins of equal width over the probabilities of the labels given.

    Args:
        chance: Probability of each label given, in [0, 1], [n].
        right: Whether it is right, bool [n].
        bins: How many; bin b holds (b / bins, (b + 1) / bins], the first one 0 too.
    """
    at = np.clip(np.ceil(chance * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(at, minlength=bins)
    chances = np.bincount(at, chance, minlength=bins)
    hits = np.bincount(at, right, minlength=bins)
    return tuple(
        Bin(
            b / bins,
            (b + 1) / bins,
            int(counts[b]),
            float(chances[b] / counts[b]) if counts[b] else None,
            float(hits[b] / counts[b]) if counts[b] else None,
        )
        for b in range(bins)
    )


def expected_calibration_error(diagram: tuple[Bin, ...]) -> float | None:
    """Return the ECE: the gap between probability and hit rate, averaged over the items (Guo et al. 2017, equation 3)."""
    n = sum(each.n for each in diagram)
    gaps = [abs((each.mean_probability or 0.0) - (each.hit_rate or 0.0)) * each.n for each in diagram]
    return sum(gaps) / n if n else None


def coverage_risk(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> CoverageRisk | None:
    """Return the risk among the surest k items for k = 1 to n; None without items.

    Items of equal confidence come in no order: their errors are spread evenly over them.

    Args:
        confidence: NaN counts as the lowest, [n].
        right: Whether each label is right, bool [n].
    """
    n = len(right)
    if not n:
        return None
    sure = np.where(np.isnan(confidence), -np.inf, confidence)
    _, place, count = np.unique(-sure, return_inverse=True, return_counts=True)
    errors = np.bincount(place, ~right, minlength=len(count)) / count
    risk = np.cumsum(np.repeat(errors, count)) / np.arange(1, n + 1)
    shown = np.unique(np.ceil(np.linspace(1 / min(n, POINTS), 1, min(n, POINTS)) * n - 1e-9).astype(np.int64))
    return CoverageRisk(float(risk.mean()), tuple((shown / n).tolist()), tuple(risk[shown - 1].tolist()))
