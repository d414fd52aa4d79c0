"""The further tables of catena evaluate."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from catena.cli.drawing import Ink
from catena.cli.pictures import reliability_bar, risk_spark
from catena.cli.tables import fits, table
from catena.data.cells import one_line
from catena.report.words import figure, share

__all__ = ["further_tables", "group_table"]

WIDEST_CONFUSION = 12


def further_tables(document: Mapping[str, Any], wanted: Sequence[str], width: int, ink: Ink) -> list[Any]:
    """Return the tables asked for, with a line where one says nothing without an explanation."""
    made: list[Any] = []
    if {"classes", "all"} & set(wanted):
        made += [_classes(name, of) for name, of in _all_of(document)]
    if {"confusion", "all"} & set(wanted):
        made += [_confusion(document["labels"], *_last(document), width)]
    if {"confidence", "all"} & set(wanted):
        made += _confidence(document, ink)
    if {"agreement", "all"} & set(wanted):
        made += _agreement(document["agreement"])
    if {"tests", "all"} & set(wanted) and "tests" in document:
        made += _tests(document, width)
    return made


def group_table(by: Mapping[str, Any]) -> Table:
    """Return the scores for each value of a column, and their means."""
    several = len(by["mean"]) > 1
    rows = [_group(one_line(row["value"]), row, f"{row['n']:,}", several) for row in by["values"]]
    rows += [_group("mean", row, "", several) for row in by["mean"]]
    names = [by["column"], *(["labels of"] if several else []), "items", "accuracy", "macro-F1", "micro-F1"]
    return table(f"By {by['column']}", names, rows, left=1 + several)


def _group(name: str, row: Mapping[str, Any], items: str, several: bool) -> list[str]:
    whose = [row["of"]] if several else []
    return [
        name,
        *whose,
        items,
        share(row["accuracy"]),
        figure(row["macro_f1"]),
        figure(row["micro_f1"]),
    ]


def _all_of(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    of = [(f"{link['link']}, on what it saw", link) for link in document["links"]]
    return [*of, ("the result", document["final"])] if "final" in document else of


def _last(document: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the result, or the link that is right most often."""
    if "final" in document:
        return "the result", document["final"]
    best = max(document["links"], key=lambda link: link["accuracy"] or 0.0)
    return best["link"], best


def _classes(name: str, of: Mapping[str, Any]) -> Table:
    rows = [
        [label, f"{c['support']:,}", figure(c["precision"]), figure(c["recall"]), figure(c["f1"])]
        for label, c in of["per_class"].items()
    ]
    title = f"Per class: {name} (micro-F1 {figure(of['micro_f1'])})"
    return table(title, ["class", "gold", "precision", "recall", "F1"], rows, left=1)


def _confusion(labels: Sequence[str], name: str, of: Mapping[str, Any], width: int) -> Any:
    names = ["gold", *labels, "no label"]
    rows = [
        [label, *[f"{count:,}" for count in row]] for label, row in zip(labels, of["confusion"], strict=True)
    ]
    if len(labels) > WIDEST_CONFUSION or 12 * len(names) > max(width, 80):
        return f"The confusion of {len(labels)} labels is too wide for a screen: it is in --json."
    return table(f"Confusion: gold in rows, {name} in columns", names, rows, left=1)


def _confidence(document: Mapping[str, Any], ink: Ink) -> list[Any]:
    rows = []
    for name, of in _all_of(document):
        risk, calibration = of["coverage_risk"], of["calibration"]
        at = [None if risk is None else _risk_at(risk, coverage) for coverage in (0.25, 0.5, 0.75)]
        rows.append(
            [
                name,
                figure(of["auroc"]),
                figure(calibration["ece"] if calibration else None),
                *[share(each) for each in at],
                figure(risk["area"] if risk else None),
                risk_spark(risk["risk"], ink) if risk else "",
            ]
        )
    names = [
        "confidence of",
        "AUROC",
        "ECE",
        "errors in\nsurest 25%",
        "surest\n50%",
        "surest\n75%",
        "area",
        "surest 10%\nto all",
    ]
    made: list[Any] = [table("What confidences say", names, rows, left=1)]
    for name, of in _all_of(document):
        if of["calibration"]:
            bins = [
                [
                    f"{each['low']:.2f} to {each['high']:.2f}",
                    f"{each['n']:,}",
                    figure(each["mean_probability"]),
                    figure(each["hit_rate"]),
                    reliability_bar(each["mean_probability"], each["hit_rate"], ink),
                ]
                for each in of["calibration"]["bins"]
                if each["n"]
            ]
            heads = ["probability", "items", "mean", "right", f"right, as said {ink.stroke}"]
            made.append(table(f"Reliability of {name}", heads, bins, left=1))
    return made


def _risk_at(risk: Mapping[str, Any], coverage: float) -> float:
    at = next(i for i, each in enumerate(risk["coverage"]) if each >= coverage - 1e-9)
    found: float = risk["risk"][at]
    return found


def _agreement(agreement: Mapping[str, Any]) -> list[Any]:
    rows = [
        [each["link"] or "the result", "gold", f"{each['n']:,}", figure(each["kappa"])]
        for each in agreement["kappa_with_gold"]
    ]
    rows += [[*each["links"], f"{each['n']:,}", figure(each["kappa"])] for each in agreement["kappa"]]
    alpha = f"Krippendorff's alpha over all votes of all links: {figure(agreement['krippendorff_alpha'])}"
    note = "A link that saw only what others forwarded saw the harder items: its agreement is lower for that alone."
    return [table("Cohen's kappa", ["between", "and", "items", "kappa"], rows, left=2), alpha, note]


def _tests(document: Mapping[str, Any], width: int) -> list[Any]:
    rows = []
    for test in [*document["tests"], *document["rule_tests"]]:
        f1 = test["macro_f1"]
        gain = None if not test["n"] else test["result"]["accuracy"] - test["alone"]["accuracy"]
        rows.append(
            [
                test["link"] if "link" in test else f"chain, {test['rule']}",
                f"{test['n']:,}",
                "-" if gain is None else f"{100 * gain:+.1f}",
                f"{test['only_result_right']:,}/{test['only_link_right']:,}",
                _p(test["mcnemar_p"]),
                "-" if f1 is None else f"{f1['difference']:+.3f}",
                "-" if f1 is None else f"{f1['low']:+.3f} to {f1['high']:+.3f}",
                _p(f1 and f1["p"]),
            ]
        )
    names = ["against", "items", "accuracy,\npoints", "only it/\nthat right", "McNemar p"]
    names += ["macro-F1", "95 % interval", "bootstrap p"]
    title = "The result against each link, on what the link was asked, and against the other rules"
    title = title if document["rule_tests"] else title.partition(", and")[0]
    made: list[Any] = [
        table(title, [names[i] for i in at], [[row[i] for i in at] for row in rows], left=1)
        for at in ([range(8)] if fits(names, rows, width, left=1) else [(0, 1, 2, 3, 4), (0, 1, 5, 6, 7)])
    ]
    if document["changes"]:
        changes = [
            [each["link"]]
            + [f"{each[key]:,}" for key in ("n", "fixed", "broken", "still_right", "still_wrong")]
            for each in document["changes"]
        ]
        heads = ["link", "items", "fixed", "broken", "still right", "still wrong"]
        made.append(table("What each link changes in the labels that reach it", heads, changes, left=1))
    return made


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
