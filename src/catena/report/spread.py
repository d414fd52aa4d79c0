"""How labels and confidences are spread: what can be shown without gold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.aggregate import Decision
from catena.engine.results import RunVotes

__all__ = ["class_shares", "confidences"]

BINS = 30
TAIL = 0.002  # of the values on either side are counted in the outermost bins


def confidences(votes: RunVotes, decision: Decision) -> list[dict[str, Any]]:
    """Return for each link how sure it was of what it kept and of what it forwarded, in bins of equal width.

    Votes without a confidence are counted apart, as `without`.
    """
    found = []
    for at, name in enumerate(votes.links):
        here = decision.seen[at]
        sure = votes.confidence[at][here]
        known = np.isfinite(sure)
        kept = (decision.kept_by[here] == at)[known]
        found.append(
            {"link": name, "n": len(sure), "without": int((~known).sum()), "bins": _bins(sure[known], kept)}
        )
    return found


def _bins(sure: NDArray[np.float64], kept: NDArray[np.bool_]) -> list[dict[str, float]]:
    if not len(sure):
        return []
    low, high = (float(edge) for edge in np.quantile(sure, [TAIL, 1 - TAIL]))
    if high - low <= 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    place = np.clip(np.searchsorted(edges, sure, "right") - 1, 0, BINS - 1)
    counts = [np.bincount(place[which], minlength=BINS) for which in (kept, ~kept)]
    return [
        {"low": float(edges[b]), "high": float(edges[b + 1]), "kept": int(counts[0][b]), "forwarded": int(counts[1][b])}
        for b in range(BINS)
    ]  # fmt: skip


def class_shares(
    votes: RunVotes, decision: Decision, gold: NDArray[np.int16], label: NDArray[np.int16]
) -> list[dict[str, Any]]:
    """Return the share of each label in gold, in the result, and among the votes of each link on what reached it.

    Shares are of what is labelled; a source without any label is left out.

    Args:
        votes: Of the run.
        decision: Made from them.
        gold: -1 where unknown, int16 [n].
        label: The result's, -1 where unlabelled, int16 [n].
    """
    size = len(votes.labels)
    found = [_shares("gold", gold, size), _shares("result", label, size)]
    for at, name in enumerate(votes.links):
        found.append(_shares("link", votes.label[at][decision.seen[at]], size) | {"link": name})
    return [each for each in found if each["n"]]


def _shares(kind: str, label: NDArray[np.int16], size: int) -> dict[str, Any]:
    counts = np.bincount(label[label >= 0], minlength=size)
    n = int(counts.sum())
    return {"of": kind, "n": n, "counts": counts.tolist(), "shares": (counts / max(n, 1)).tolist()}
