"""A plan as a person reads it: what money buys, what is taken, and what to beware of."""

from collections.abc import Sequence
from typing import Any

__all__ = ["show_held_out", "show_plan", "warn_of_plan"]

KEPT, BETWEEN = "keep", "95 % interval"
"""Columns that a narrow screen does without."""

TO_A_LINE = 4
"""Shares of a long chain that stand in one line of a table."""


def warn_of_plan(output: Any, plan: Any, document: dict[str, Any]) -> None:
    """Warn where a target is out of reach, votes are missing, or a confidence routes badly."""
    from catena.evaluate.plan import BLIND

    if plan.reached is False:
        within = " within the budget" if plan.asked is not None else ""
        output.warn(f"no plan{within} is expected to reach the target; this is the best one.")
    if document["held_out"] and document["held_out"]["missing"]:
        output.warn(
            f"{document['held_out']['missing']:,} of the votes that this plan needs are not recorded; such votes count "
            "as failures and cost nothing, so its figures on the other items are not comparable."
        )
    for link in document["links"]:
        if link["link"] in plan.planned.chain[:-1] and link["auroc"] is not None and link["auroc"] < BLIND:
            output.warn(
                f"the confidence of {link['link']} hardly tells right from wrong (AUROC {link['auroc']:.2f}): it routes badly."
            )


def show_plan(output: Any, document: dict[str, Any]) -> None:
    """Show what money buys, the single links, the picture, and what is taken."""
    from catena.cli.pictures import plan_picture
    from catena.cli.tables import money

    output.say(_frontier(output, document), _singles(output, document))
    if any(len(each["chain"]) == 1 for each in document["frontier"]):
        output.say(
            "(A plan of one link is not that link alone: its labels are calibrated, and luck is taken off.)"
        )
    output.say(*plan_picture(document, output.width, output.ink))
    pilot, expected = document["pilot"], document["expected"]
    rest = " More of the budget would buy nothing." if document["rest_buys_nothing"] else ""
    chosen = f"macro-F1 {expected['macro_f1']:.3f} and " if document["metric"] == "macro_f1" else ""
    output.say(
        f"Take {' > '.join(document['chain'])}: {chosen}{expected['accuracy']:.1%} {_right(document)} expected "
        f"({expected['accuracy_low']:.1%} to {expected['accuracy_high']:.1%}) {_at(document)}.{rest}"
    )
    output.say(f"The pilot of {pilot['n']:,} items cost {money(pilot['cost_usd'])}. {_pays(document)}")


def _frontier(output: Any, document: dict[str, Any]) -> Any:
    """Return the table of what money buys; the picture has the intervals too."""
    from catena.cli.pictures import marks_of
    from catena.cli.tables import WIDEST_TEXT, fitting, table

    chains, _ = marks_of(document, output.ink)
    by_f1 = document["metric"] == "macro_f1"
    rows = [
        [
            mark,
            " > ".join(each["chain"]),
            _kept(each["shares"]),
            *([f"{each['macro_f1']:.3f}"] if by_f1 else []),
            f"{each['accuracy']:.1%}",
            f"{each['accuracy_low']:.1%} to {each['accuracy_high']:.1%}",
            _times(each["cost_share"]),
        ]
        for mark, each in zip(chains, document["frontier"], strict=True)
    ]
    names = ["", "chain", KEPT, *(["macro-F1"] if by_f1 else []), _right(document), BETWEEN, "cost"]
    names, rows = fitting(names, rows, output.width, [KEPT, BETWEEN], left=2, text=WIDEST_TEXT)
    return table("What money buys, as expected from the pilot", names, rows, left=2 + (KEPT in names))


def _singles(output: Any, document: dict[str, Any]) -> Any:
    from catena.cli.pictures import marks_of
    from catena.cli.tables import table

    _, links = marks_of(document, output.ink)
    by_f1 = document["metric"] == "macro_f1"
    rows = [
        [
            mark,
            each["link"],
            *([f"{each['macro_f1']:.3f}"] if by_f1 else []),
            f"{each['accuracy']:.1%}",
            _number(each["auroc"]),
            _times(each["cost_share"]),
        ]
        for mark, each in sorted(
            zip(links, document["links"], strict=True), key=lambda pair: pair[1]["cost_usd"]
        )
    ]
    names = ["", "link", *(["macro-F1"] if by_f1 else []), _right(document), "AUROC", "cost"]
    return table("Single links on the pilot", names, rows, left=2)


def _right(document: dict[str, Any]) -> str:
    """Return what being right means here."""
    return "agreement" if document["agree_with"] else "accuracy"


def _at(document: dict[str, Any]) -> str:
    share = document["expected"]["cost_share"]
    return (
        "for nothing" if share is None else f"at {_times(share)} of what {document['reference']} alone costs"
    )


def _pays(document: dict[str, Any]) -> str:
    rows, reference = document["pays_from_rows"], document["reference"]
    if document["expected"]["cost_share"] is None:
        return "All links are free."
    if document["chain"] == [reference]:
        return f"The plan asks {reference} alone, and saves nothing."
    if rows is None:
        return f"The plan does not cost less than {reference} alone: it pays by its accuracy only."
    return f"Against {reference} alone, the plan has saved that after {rows:,} rows."


def show_held_out(output: Any, document: dict[str, Any]) -> None:
    """Say what the plan did on the items outside the pilot."""
    from catena.cli.tables import money

    held, single = document["held_out"], document["best_single"]
    if held["accuracy"] is None:
        output.say(
            f"On the other {held['n']:,} items, which have no gold, it cost {money(held['cost_usd'])}."
        )
        return
    alone = f"; {single['link']} alone had {single['accuracy']:.1%}" if single["accuracy"] is not None else ""
    output.say(
        f"On the other {held['n']:,} items it had {held['accuracy']:.1%} {_right(document)}, macro-F1 {held['macro_f1']:.3f}, for "
        f"{money(held['cost_usd'])} ({_times(held['cost_share'])}){alone}."
    )


def _kept(shares: Sequence[float]) -> str:
    said = [f"{share:.0%}" for share in shares]
    lines = ["/".join(said[at : at + TO_A_LINE]) for at in range(0, len(said), TO_A_LINE)]
    return "/\n".join(lines)


def _times(share: float | None) -> str:
    from catena.report.words import times

    return times(share)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
