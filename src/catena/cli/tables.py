"""The tables that people read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len, chop_cells
from rich.table import Table

from catena.report.words import figure, money, share

__all__ = [
    "WIDEST_TEXT",
    "classes_tables",
    "fits",
    "fitting",
    "links_tables",
    "money",
    "saving_line",
    "scores_table",
    "split_tables",
    "table",
]

NARROWEST_TEXT, WIDEST_TEXT = 10, 16
"""Characters that long text and headings are folded to: the least, and what is comfortable."""

GAP = 3
LITTLE = 0.005  # of what a run cost: not worth a word


def links_tables(run: Mapping[str, Any], width: int) -> list[Table]:
    """Return what each link did and used, in one table where `width` characters hold it, otherwise in two."""
    names = ["link", "model", "received", "kept", "forwarded", "failed", "calls", "tokens in/out"]
    names += ["cost", "seconds", "agrees"]
    rows = []
    for link in run["links"]:
        tokens = f"{link['prompt_tokens']:,}/{link['completion_tokens']:,}"
        counts = [f"{link[key]:,}" for key in ("received", "kept", "forwarded", "failed", "calls")]
        rest = [tokens, money(link["cost_usd"]), f"{link['seconds']:.1f}", share(link["agreement"])]
        rows.append([link["link"], link["model"], *counts, *rest])
    if fits(names, rows, width, left=2):
        return [table("What each link did", names, rows, left=2)]
    did, used = (0, 2, 3, 4, 5, 10), (0, 1, 6, 7, 8, 9)
    least = NARROWEST_TEXT
    parts = [("What each link did", part, 1) for part in _parts(names, rows, did, width, left=1, text=least)]
    parts += [
        ("What each link used", part, 1 + (1 in part))
        for part in _parts(names, rows, used, width, left=2, text=least)
    ]
    return [table(title, *_columns(names, rows, part), left=left) for title, part, left in parts]


def saving_line(run: Mapping[str, Any]) -> str:
    """Return what labelling everything with the dearest link would have cost against this run."""
    dearest, cost = run["dearest"], run["cost_usd"]
    if not dearest:
        return f"This run cost {money(cost or 0.0)}: its links are free."
    unused = run["unused_usd"]
    beside = (
        f", {money(unused)} of it for votes that this chain does not use" if unused > LITTLE * cost else ""
    )
    if len(run["links"]) == 1:
        return f"This run cost {money(cost)}{beside}."
    would = dearest["cost_usd"]
    less = round(1 - cost / would, 2)
    difference = f"{less:.0%} less" if less > 0 else f"{-less:.0%} more" if less < 0 else "the same"
    low, high = money(dearest["cost_usd_low"]), money(dearest["cost_usd_high"])
    between = "" if low == high else f" ({low} to {high})"
    return (
        f"Labelling everything with {dearest['link']} (the dearest) would have cost {money(would)}{between}; "
        f"this run {money(cost)} ({difference}){beside}."
    )


def scores_table(scores: Mapping[str, Any], rule: str | None) -> Table:
    """Return accuracy and macro-F1 of each link on what it saw, of each rule on everything, and of the result.

    The items are those with gold: figures are over no others.

    Args:
        scores: From `assess.scores_of` or `assess.assess`; the latter has intervals.
        rule: Which rule made the result; None where there is only votes.
    """
    rows = [(f"{link['link']}, on what it saw", link) for link in scores["links"]]
    for name, figures in scores["aggregates"].items():
        mine = name == rule
        rows.append((f"chain, {name}{' (the result)' * mine}", scores["final"] if mine else figures))
    if "final" in scores and rule not in scores["aggregates"]:
        rows.append((f"{rule} (the result)", scores["final"]))
    names = ["labels of", "items", "accuracy", "macro-F1"]
    cells = [[name, f"{of['gold']:,}", share(of["accuracy"]), figure(of["macro_f1"])] for name, of in rows]
    if any("accuracy_low" in of for _, of in rows):
        names = [*names[:3], "95 % interval", "macro-F1", "95 % interval"]
        for row, (_, of) in zip(cells, rows, strict=True):
            row.insert(3, _between(of, "accuracy", share))
            row.append(_between(of, "macro_f1", figure))
    over = scores.get("macro_f1_over")
    return table(f"Against gold, F1 over {', '.join(over)}" if over else "Against gold", names, cells, left=1)


def classes_tables(scores: Mapping[str, Any], width: int) -> list[Table]:
    """Return F1 per class of each link on what it saw and of each rule, in as many tables as the width asks for."""
    of = [(link["link"], link) for link in scores["links"]] + list(scores["aggregates"].items())
    if "final" in scores and scores.get("rule") not in scores["aggregates"]:
        of.append(("result", scores["final"]))
    names = ["class", "gold", *[name for name, _ in of]]
    rows = [
        [
            label,
            f"{known['support']:,}",
            *[figure(each["per_class"].get(label, {}).get("f1")) for _, each in of],
        ]
        for label, known in _most_gold(scores)["per_class"].items()
    ]
    return split_tables("F1 per class", names, rows, width, left=1, always=2)


def split_tables(
    title: str, names: Sequence[str], rows: Sequence[Sequence[str]], width: int, left: int, always: int = 1
) -> list[Table]:
    """Return as many tables as the width asks for; the first columns, `always`, stand in each of them."""
    parts = _parts(names, rows, range(len(names)), width, left=left, always=always)
    return [table(title, *_columns(names, rows, part), left=left) for part in parts]


def fits(names: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, left: int) -> bool:
    """Return whether a screen of this width holds a table with its long text folded."""
    return _needed(names, rows, left) <= width


def fitting(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    spare: Sequence[str],
    left: int = 1,
    text: int = NARROWEST_TEXT,
) -> tuple[list[str], list[list[str]]]:
    """Return the columns without as many of the spare ones, in their order, as the width asks for.

    The first `left` columns are text, which may be folded to `text` characters.
    """
    at, without = list(range(len(names))), list(spare)
    while without and _needed(*_columns(names, rows, at), left, text) > width:
        at.remove(names.index(without.pop(0)))
    return _columns(names, rows, at)


def _parts(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    of: Sequence[int],
    width: int,
    left: int,
    always: int = 1,
    text: int = WIDEST_TEXT,
) -> list[list[int]]:
    """Return some columns in as many tables as the width asks for; the first ones, `always`, stand in each of them."""
    head = list(of[:always])
    parts = [list(of[: max(always + 1, left)])]
    for at in of[len(parts[0]) :]:
        needed = _needed(*_columns(names, rows, [*parts[-1], at]), left=left, text=text)
        if needed - 1 <= width:  # the last character of a line is blank
            parts[-1].append(at)
        else:
            parts.append([*head, at])
    return parts


def _most_gold(scores: Mapping[str, Any]) -> Any:
    """Return the scores that are over all gold there is: the result's, or those of the link that saw most."""
    return scores["final"] if "final" in scores else max(scores["links"], key=lambda link: link["gold"])


def table(title: str | None, names: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Table:
    """Return a table whose first `left` columns are text, which may be folded, and the others numbers, which never are."""
    least = _needed(names, rows, left, NARROWEST_TEXT)  # of which no column may lose any: see `Output.say`
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    made.min_width = least
    for at, name in enumerate(names):
        width = _width(names, rows, at)
        if at < left:
            made.add_column(name, overflow="fold", min_width=min(width, NARROWEST_TEXT))
        else:
            made.add_column(_folded(name), justify="right", no_wrap=True, min_width=width)
    for row in rows:
        made.add_row(*row)
    return made


def _needed(names: Sequence[str], rows: Sequence[Sequence[str]], left: int, text: int = WIDEST_TEXT) -> int:
    """Return how many characters a table takes with long text folded to so many."""
    widths = [_width(names, rows, at) for at in range(len(names))]
    return sum(min(width, text) for width in widths[:left]) + sum(widths[left:]) + GAP * (len(names) - 1) + 2


def _width(names: Sequence[str], rows: Sequence[Sequence[str]], at: int) -> int:
    heading = max(map(cell_len, _folded(names[at]).split("\n")))
    cells = max((cell_len(line) for row in rows for line in row[at].split("\n")), default=0)
    return max(heading, cells)


def _folded(heading: str) -> str:
    return "\n".join(part for line in heading.split("\n") for part in chop_cells(line, WIDEST_TEXT) or [""])


def _columns(
    names: Sequence[str], rows: Sequence[Sequence[str]], at: Sequence[int]
) -> tuple[list[str], list[list[str]]]:
    return [names[i] for i in at], [[row[i] for i in at] for row in rows]


def _between(of: Mapping[str, Any], name: str, show: Callable[[float | None], str]) -> str:
    low, high = of.get(f"{name}_low"), of.get(f"{name}_high")
    return "" if low is None else f"{show(low)} to {show(high)}"
