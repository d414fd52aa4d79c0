"""What links were found to give, as a table for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from catena.cli.output import counted
from catena.cli.tables import table

__all__ = ["capability_tables", "offers", "recommendation"]

LINKS_ABREAST = 3
MOST_LABELS = 3
SCORING = {"first-token": "first tokens", "likelihood": "whole labels", "systemone": "/v1/systemone"}


def capability_tables(links: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables of what each link's server gives, a few links abreast; none where nothing was found out.

    Args:
        links: As `check_task` returns them.
    """
    known = [link for link in links if link.get("gives") or link.get("recommended")]
    return [_table(known[at : at + LINKS_ABREAST]) for at in range(0, len(known), LINKS_ABREAST)]


def recommendation(link: Mapping[str, Any]) -> str:
    """Return what to write for a link's confidence, and why; empty where there is no choice."""
    best = link.get("recommended")
    if not best:
        return ""
    return f"{_written(best['options'])} ({best['why']})" if best["options"] else str(best["why"])


def offers(link: Mapping[str, Any]) -> str:
    """Return what to write so that the link's server scores the labels itself; empty where it does not, or does already."""
    ways = [
        f"{_written(each['options'])} ({counted(each['calls'], 'call')} a row)"
        for each in link.get("offered") or ()
    ]
    return f"write {' or '.join(ways)}" if ways else ""


def _table(links: Sequence[Mapping[str, Any]]) -> Table:
    facts: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "log-probabilities": _logprobs,
        "labels part at": _parting,
        "share a first token": _sharing,
        "JSON schema": lambda link: _yes((link["gives"] or {}).get("structured")),
        "scores labels itself": _scoring,
        "its limits": _limits,
        "USD per 1M tokens": _price,
        "best confidence": lambda link: _written((link["recommended"] or {}).get("options") or {}),
    }
    rows = [[name, *[fact(link) for link in links]] for name, fact in facts.items()]
    return table("What each link gives", ["", *[link["link"] for link in links]], rows, left=len(links) + 1)


def _written(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in options.items()) or "-"


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _logprobs(link: Mapping[str, Any]) -> str:
    gives = link["gives"] or {}
    if not gives.get("logprobs"):
        return "refused" if gives.get("refused") else _yes(gives.get("logprobs"))
    return f"yes, {gives['listed']:,} a token"


def _parting(link: Mapping[str, Any]) -> str:
    places = list((link["gives"] or {}).get("parts_at", {}).values())
    if not places:
        return _unknown(link)
    first, last = min(places), max(places)
    return f"token {first}" if first == last else f"tokens {first} to {last}"


def _sharing(link: Mapping[str, Any]) -> str:
    gives = link["gives"] or {}
    if not gives.get("tokens"):
        return _unknown(link)
    return "; ".join(_few(group) for group in gives["shared"]) or "none"


def _unknown(link: Mapping[str, Any]) -> str:
    """Tell what could not be found out from what was not looked for."""
    return "not found out" if (link["gives"] or {}).get("logprobs") else "-"


def _few(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:MOST_LABELS])
    return f"{shown} and {len(labels) - MOST_LABELS:,} more" if len(labels) > MOST_LABELS else shown


def _scoring(link: Mapping[str, Any]) -> str:
    gives = link["gives"]
    return "-" if not gives else ", ".join(SCORING[each] for each in gives.get("scoring", ())) or "no"


def _limits(link: Mapping[str, Any]) -> str:
    said = link.get("rate") or {}
    limits = [f"{said[kind]['most']:,.0f} {kind}" for kind in ("requests", "tokens") if said.get(kind)]
    return ", ".join(limits) or "not said"


def _price(link: Mapping[str, Any]) -> str:
    price = link.get("price")
    if not price:
        return "-"
    if not price["input"] and not price["output"]:
        return "free"
    return f"{price['input']:g} in, {price['output']:g} out"
