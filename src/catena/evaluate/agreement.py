"""How far annotators agree beyond chance, over label indices."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["cohen_kappa", "krippendorff_alpha"]


def cohen_kappa(first: NDArray[np.int16], second: NDArray[np.int16], labels: int) -> tuple[int, float | None]:
    """Return how many items both have labelled, and Cohen's kappa on them (Cohen 1960, Educ. Psychol. Meas. 20).

    Args:
        first: Label index, -1 where there is none, int16 [n].
        second: As `first`.
        labels: How many labels there are.

    Returns:
        The number of items, and kappa in [-1, 1]; None where chance alone would agree on every item.
    """
    both = (first >= 0) & (second >= 0)
    n = int(both.sum())
    if not n:
        return 0, None
    one, two = first[both], second[both]
    observed = float((one == two).mean())
    shares = [np.bincount(each, minlength=labels) / n for each in (one, two)]
    expected = float(shares[0] @ shares[1])
    return n, None if expected >= 1 - 1e-12 else (observed - expected) / (1 - expected)


def krippendorff_alpha(label: NDArray[np.int16], labels: int) -> float | None:
    """Return Krippendorff's alpha for nominal data; votes may be missing (Krippendorff 2011, section C).

    Items with fewer than two votes say nothing about agreement and are left out.

    Args:
        label: Label index of each annotator's vote, -1 where there is none, int16 [m, n].
        labels: How many labels there are.

    Returns:
        At most 1; None where all votes that can be compared name one label, or there are none.
    """
    voted = label >= 0
    votes_here = voted.sum(0)
    here = votes_here >= 2
    if not here.any():
        return None
    # Pairs of equal labels within each item: with these, no table of items by labels is needed.
    alike = np.zeros(label.shape[1], np.int64)
    for at, votes in enumerate(label):
        for others in label[:at]:
            alike += (votes == others) & (votes >= 0)
    totals = np.array([np.bincount(votes[here & (votes >= 0)], minlength=labels) for votes in label]).sum(0)
    n, votes_here = int(totals.sum()), votes_here[here]
    # Ordered pairs of different labels within items, each weighted by 1 / (votes of the item - 1).
    observed = float((votes_here - 2 * alike[here] / (votes_here - 1)).sum())
    expected = float(n**2 - (totals**2).sum()) / (n - 1)
    return None if expected == 0 else 1 - observed / expected
