"""The tables that people read."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

__all__ = ["classes_table", "links_table", "money", "saving_line", "scores_table"]


def money(usd: float | None) -> str:
    """Return an amount with as many digits as it needs; a dash where it is unknown.

    >>> money(1234.5), money(0.0123), money(0.0), money(None)
    ('$1,234.50', '$0.0123', '$0', '-')
    """
    if usd is None:
        return "-"
    if usd == 0:
        return "$0"
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}" if usd >= 0.001 else f"${usd:.2g}"


def links_table(run: Mapping[str, Any]) -> Table:
    """Return what each link received, kept, forwarded, failed and used."""
    names = (
        "link",
        "model",
        "received",
        "kept",
        "forwarded",
        "failed",
        "calls",
        "tokens in/out",
        "cost",
        "seconds",
        "agrees",
    )
    table = _table("What each link did", names, left=2)
    for link in run["links"]:
        tokens = f"{link['prompt_tokens']:,}/{link['completion_tokens']:,}"
        counts = [f"{link[key]:,}" for key in ("received", "kept", "forwarded", "failed", "calls")]
        rest = [tokens, money(link["cost_usd"]), f"{link['seconds']:.1f}", _share(link["agreement"])]
        table.add_row(link["link"], link["model"], *counts, *rest)
    return table


def saving_line(run: Mapping[str, Any]) -> str:
    """Return what labelling everything with the dearest link would have cost against this run."""
    dearest, cost = run["dearest"], run["cost_usd"]
    if not dearest:
        return f"This run cost {money(cost or 0.0)}: its links are free."
    would = dearest["cost_usd"]
    less = round(1 - cost / would, 2)
    difference = f"{less:.0%} less" if less > 0 else f"{-less:.0%} more" if less < 0 else "the same"
    return (
        f"Labelling everything with {dearest['link']} (the dearest) would have cost {money(would)}; "
        f"this run {money(cost)} ({difference})."
    )


def scores_table(scores: Mapping[str, Any], aggregate: str) -> Table:
    """Return accuracy and macro-F1 of each link on what it saw, and of each rule on everything."""
    table = _table("Against gold", ("labels of", "items", "accuracy", "macro-F1"), left=1)
    for link in scores["links"]:
        name = f"{link['link']}, on what it saw"
        table.add_row(name, f"{link['received']:,}", _share(link["accuracy"]), _number(link["macro_f1"]))
    for rule, figures in scores["aggregates"].items():
        name = f"chain, {rule}" + (" (the result)" if rule == aggregate else "")
        table.add_row(name, f"{scores['n']:,}", _share(figures["accuracy"]), _number(figures["macro_f1"]))
    return table


def classes_table(scores: Mapping[str, Any]) -> Table:
    """Return F1 per class of each link on what it saw and of each rule, side by side."""
    columns = [(link["link"], link) for link in scores["links"]] + list(scores["aggregates"].items())
    table = _table("F1 per class", ("class", "gold", *[name for name, _ in columns]), left=1)
    for label, figures in scores["final"]["per_class"].items():
        cells = [_number(column["per_class"].get(label, {}).get("f1")) for _, column in columns]
        table.add_row(label, f"{figures['support']:,}", *cells)
    return table


def _table(title: str, names: Sequence[str], left: int) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(names):
        table.add_column(name, justify="left" if at < left else "right", no_wrap=at != 1, overflow="fold")
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
