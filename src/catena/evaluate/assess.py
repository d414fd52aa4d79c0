"""All that is reported of votes and labels against gold, ready for JSON."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.evaluate.agreement import cohen_kappa, krippendorff_alpha
from catena.evaluate.bootstrap import LEVEL, RESAMPLES, intervals, macro_f1_difference
from catena.evaluate.judged import Judged, Result
from catena.evaluate.metrics import Scores, confusion, score
from catena.evaluate.paired import changes, mcnemar
from catena.evaluate.reliability import auroc, coverage_risk, expected_calibration_error, reliability_diagram

__all__ = ["assess", "by_group", "scores_of"]


def scores_of(judged: Judged, over: Sequence[str] = ()) -> dict[str, Any]:
    """Return the scores of each link on what it saw, of each rule, and of the result.

    Args:
        judged: What is evaluated.
        over: The labels that F1 is taken over; see `metrics.score`.
    """
    document: dict[str, Any] = {"n": len(judged), "gold": int((judged.gold >= 0).sum())}
    if judged.result:
        labelled = int((judged.result.label >= 0).sum())
        document |= {"rule": judged.result.name, "labelled": labelled, "failed": len(judged) - labelled}
    document["links"] = [
        {
            "link": name,
            "received": int(judged.reached[j].sum()),
            **_flat(score(_on(judged, judged.reached[j]), judged.label[j], judged.labels, over)),
        }
        for j, name in enumerate(judged.links)
    ]
    document["aggregates"] = {
        rule: _flat(score(judged.gold, label, judged.labels, over))
        for rule, label in judged.aggregates.items()
    }
    if judged.result:
        document["final"] = _flat(score(judged.gold, judged.result.label, judged.labels, over))
    return document


def assess(judged: Judged, over: Sequence[str] = (), seed: int = 0) -> dict[str, Any]:
    """Return `scores_of` with all else: intervals, confidence, agreement, tests, and what each link fixes and breaks.

    Args:
        judged: What is evaluated.
        over: The labels that F1 is taken over.
        seed: Of the resampling.
    """
    document = scores_of(judged, over)
    at = [judged.labels.index(label) for label in over]
    for j, link in enumerate(document["links"]):
        chance = None if judged.chance is None else judged.chance[j]
        votes = (_on(judged, judged.reached[j]), judged.label[j])
        link.update(_more(judged, *votes, judged.confidence[j], chance, at, seed))
    document["intervals"] = {
        "method": "percentile bootstrap over items",
        "level": LEVEL,
        "resamples": RESAMPLES,
        "seed": seed,
    }
    document["labels"] = list(judged.labels)
    document["macro_f1_over"] = list(over) or None
    if judged.result:
        label, sure = judged.result.label, judged.result.confidence
        chance = sure if judged.result.probable else None
        document["final"].update(_more(judged, judged.gold, label, sure, chance, at, seed))
        document["tests"] = _tests(judged, judged.result, over, at, seed)
        document["rule_tests"] = [
            {"rule": rule} | _test(judged, judged.result, judged.gold, label, over, at, seed)
            for rule, label in judged.aggregates.items()
            if rule != judged.result.name
        ]
        document["changes"] = _changes(judged, judged.result)
    document["agreement"] = _agreement(judged)
    return document


def by_group(
    judged: Judged, values: Sequence[str | None], column: str, over: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the scores for each value of a column, and their unweighted means over the values.

    Without a result, the scores are those of each link.

    Args:
        judged: What is evaluated.
        values: Of the column, one for each item, [n].
        column: Its name.
        over: The labels that F1 is taken over.
    """
    names = np.array(["" if value is None else value for value in values], dtype=object)
    of = [("result", np.ones(len(judged), bool), judged.result.label)] if judged.result else []
    of = of or [(name, judged.reached[j], judged.label[j]) for j, name in enumerate(judged.links)]
    rows = []
    for value in sorted(set(names.tolist())):
        here = names == value
        for whose, saw, label in of:
            found = score(_on(judged, here & saw), label, judged.labels, over)
            if found.n:
                rows.append({"value": value, "of": whose, "n": found.n, **_figures(found)})
    figures = ("accuracy", "macro_f1", "micro_f1")
    means = []
    for whose, _, _ in of:
        mine = [row for row in rows if row["of"] == whose]
        if mine:
            means.append(
                {"of": whose, **{key: float(np.mean([row[key] for row in mine])) for key in figures}}
            )
    return {"column": column, "values": rows, "mean": means}


def _on(judged: Judged, here: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Return gold on these items only."""
    return np.where(here, judged.gold, -1).astype(np.int16)


def _figures(scores: Scores) -> dict[str, Any]:
    return {**scores.brief(), "micro_f1": scores.micro_f1}


def _flat(scores: Scores) -> dict[str, Any]:
    per_class = {
        c.label: {"precision": c.precision, "recall": c.recall, "f1": c.f1, "support": c.support}
        for c in scores.per_class
    }
    return {"gold": scores.n, **_figures(scores), "per_class": per_class}


def _more(
    judged: Judged,
    gold: NDArray[np.int16],
    label: NDArray[np.int16],
    confidence: NDArray[np.float64],
    chance: NDArray[np.float64] | None,
    over: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    """Return intervals, confusion, and what the confidence says."""
    size = len(judged.labels)
    found = intervals(gold, label, size, over, seed)
    edges = {
        f"{name}_{edge}": getattr(found[name], edge) if found else None
        for name in ("accuracy", "macro_f1")
        for edge in ("low", "high")
    }
    return {
        **edges,
        **_confidence(gold, label, confidence, chance),
        "confusion": confusion(gold, label, size).tolist(),
    }


def _confidence(
    gold: NDArray[np.int16],
    label: NDArray[np.int16],
    confidence: NDArray[np.float64],
    chance: NDArray[np.float64] | None,
) -> dict[str, Any]:
    """Return what a confidence says, over the labelled items with gold."""
    here = (gold >= 0) & (label >= 0)
    right = gold == label
    found: dict[str, Any] = {
        "auroc": auroc(confidence[here], right[here]) if np.isfinite(confidence[here]).any() else None,
        "coverage_risk": msgspec.to_builtins(coverage_risk(confidence[here], right[here])),
        "calibration": None,
    }
    if chance is not None:
        probable = here & np.isfinite(chance)
        if probable.any():
            diagram = reliability_diagram(chance[probable], right[probable])
            error = expected_calibration_error(diagram)
            found["calibration"] = {
                "n": int(probable.sum()),
                "ece": error,
                "bins": msgspec.to_builtins(diagram),
            }
    return found


def _tests(
    judged: Judged, result: Result, over: Sequence[str], at: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """Compare the result with each link on the items with gold that the link was asked about."""
    return [
        {"link": name} | _test(judged, result, _on(judged, judged.asked[j]), judged.label[j], over, at, seed)
        for j, name in enumerate(judged.links)
    ]


def _test(
    judged: Judged,
    result: Result,
    gold: NDArray[np.int16],
    label: NDArray[np.int16],
    over: Sequence[str],
    at: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    """Compare the result with other labels of the same items."""
    here = gold >= 0
    ours, theirs = result.label == gold, label == gold
    only = int((here & ours & ~theirs).sum()), int((here & ~ours & theirs).sum())
    difference = macro_f1_difference(gold, result.label, label, len(judged.labels), at, seed)
    return {
        "n": int(here.sum()),
        "result": score(gold, result.label, judged.labels, over).brief(),
        "alone": score(gold, label, judged.labels, over).brief(),
        "only_result_right": only[0],
        "only_link_right": only[1],
        "mcnemar_p": mcnemar(*only) if here.any() else None,
        "macro_f1": msgspec.to_builtins(difference),
    }


def _changes(judged: Judged, result: Result) -> list[dict[str, Any]]:
    if result.steps is None:
        return []
    found = []
    for j in range(1, len(judged.links)):
        here = judged.reached[j]
        after = np.where(here, judged.label[j], -1).astype(np.int16)
        change = changes(result.steps[j - 1], after, _on(judged, here))
        found.append({"link": judged.links[j], **msgspec.to_builtins(change)})
    return found


def _agreement(judged: Judged) -> dict[str, Any]:
    """Return the agreement between links, and of each with gold, over all votes at hand."""
    size, links = len(judged.labels), range(len(judged.links))
    pairs = []
    for a in links:
        for b in links[a + 1 :]:
            n, kappa = cohen_kappa(judged.label[a], judged.label[b], size)
            pairs.append({"links": [judged.links[a], judged.links[b]], "n": n, "kappa": kappa})
    with_gold = []
    for j, name in enumerate(judged.links):
        n, kappa = cohen_kappa(judged.label[j], judged.gold, size)
        with_gold.append({"link": name, "n": n, "kappa": kappa})
    if judged.result:
        n, kappa = cohen_kappa(judged.result.label, judged.gold, size)
        with_gold.append({"link": None, "n": n, "kappa": kappa})
    return {
        "krippendorff_alpha": krippendorff_alpha(judged.label, size),
        "kappa": pairs,
        "kappa_with_gold": with_gold,
    }
