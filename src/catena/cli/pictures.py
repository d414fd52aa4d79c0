"""Small pictures for people who never open a browser: the flow of a run, a plan's frontier, what confidences are worth."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from catena.cli.drawing import Ink, Point, bar, plane, spark, stair

__all__ = ["flow_picture", "marks_of", "plan_picture", "progress_bar", "reliability_bar", "risk_spark"]

NAME = 14  # characters of a link's name
WIDEST, TALLEST = 76, 13
STEPS, BARS = 40, 20


def flow_picture(run: Mapping[str, Any], width: int, ink: Ink) -> list[str]:
    """Return how items went down the chain, and how sure each link was, a line for each link.

    Args:
        run: From `describe_run`.
        width: Of the screen, in characters.
        ink: What to draw with.
    """
    sure = width >= 70 and any(link["confidences"] for link in run["links"])
    steps = min(STEPS, width - NAME - 14 - (30 if sure else 0))
    if steps < 8 or not run["n"]:
        return []
    lines, before = [], 0
    for link in run["links"]:
        drawn = stair(before, link["kept"], link["forwarded"], run["n"], steps, ink)
        before += link["kept"]
        line = f" {_name(link['link'])} {drawn} {link['kept'] / run['n']:>6.1%}"
        lines.append(f"{line}   {_confidences(link['confidences'], ink)}" if sure else line)
    head = f" {'who kept what':<{NAME + steps + 8}}" + ("   how sure, least to most" if sure else "")
    meaning = f" {ink.full} kept  {ink.light} forwarded"
    return [head.rstrip(), *lines, meaning]


def _confidences(found: Mapping[str, Any] | None, ink: Ink) -> str:
    if not found:
        return "gives none"
    return f"{found['low']:>5.2f} {spark(found['counts'], ink)} {found['high']:.2f}"


def _name(name: str, width: int = NAME) -> str:
    """Return a name just so wide; a longer one loses its middle."""
    shown, kept = name, width - 2
    while cell_len(shown) > width:
        shown = f"{name[: kept - kept // 2]}..{name[len(name) - kept // 2 :]}"
        kept -= 1
    return set_cell_size(shown, width)


def progress_bar(answered: int, rows: int, ink: Ink) -> str:
    """Return how much of the rows that a link will receive it has answered."""
    return f"[{bar(answered / rows if rows else 0.0, BARS, ink)}]"


def marks_of(document: Mapping[str, Any], ink: Ink) -> tuple[list[str], list[str]]:
    """Return the mark of each chain of the frontier and of each single link in the picture of a plan."""
    chains = [str(at % 10) for at in range(1, len(document["frontier"]) + 1)]
    best = _best(document)
    if best is not None:
        chains[best] = ink.best
    return chains, [chr(ord("a") + at % 26) for at in range(len(document["links"]))]


def _best(document: Mapping[str, Any]) -> int | None:
    """Return which chain of the frontier is the one to take, None where it is none of them."""
    for at, found in enumerate(document["frontier"]):
        same = found["chain"] == document["chain"] and found["accuracy"] == document["expected"]["accuracy"]
        if same and found["cost_share"] == document["expected"]["cost_share"]:
            return at
    return None


def plan_picture(document: Mapping[str, Any], width: int, ink: Ink) -> list[Text]:
    """Return cost against expected accuracy: single links, the chains that money buys, and the one to take.

    Where all links are free there is nothing to draw.

    Args:
        document: From `summary`.
        width: Of the screen, in characters.
        ink: What to draw with.
    """
    chains, links = marks_of(document, ink)
    points = [
        Point(mark, each["cost_share"], each["accuracy"], each["accuracy"], each["accuracy"])
        for mark, each in zip(links, document["links"], strict=True)
        if each["cost_share"] is not None
    ]
    points += [
        _expected(mark, each, best=mark == ink.best)
        for mark, each in zip(chains, document["frontier"], strict=True)
        if each["cost_share"] is not None
    ]
    if ink.best not in chains and document["expected"]["cost_share"] is not None:
        points.append(_expected(ink.best, document["expected"], best=True))
    if not points:
        return []
    drawn = plane(points, min(width, WIDEST), TALLEST, ink)
    up = "agreement" if document.get("agree_with") else "accuracy"
    return [
        Text(f" {up}, by the cost against {document['reference']} alone"),
        *drawn,
        _legend(document, links, ink),
    ]


def _expected(mark: str, of: Mapping[str, Any], *, best: bool) -> Point:
    return Point(mark, of["cost_share"], of["accuracy"], of["accuracy_low"], of["accuracy_high"], best)


def _legend(document: Mapping[str, Any], links: Sequence[str], ink: Ink) -> Text:
    named = [f"{mark} {each['link']}" for mark, each in zip(links, document["links"], strict=True)]
    return Text(
        f" {ink.best} take this   1-{len(document['frontier'])} what money buys   {'   '.join(named)}"
        f"   {ink.stroke} 95 % interval"
    )


def reliability_bar(probability: float, rate: float, ink: Ink) -> str:
    """Return how often labels of some probability are right, as a bar; a stroke stands where it would be as promised."""
    drawn = list(bar(rate, BARS, ink))
    drawn[min(round(probability * BARS), BARS - 1)] = ink.stroke
    return f"[{''.join(drawn)}]"


def risk_spark(risk: Sequence[float], ink: Ink) -> str:
    """Return the share of errors among the surest tenth, the surest two tenths and so on, in ten characters."""
    at = [max(round(len(risk) * tenth / 10) - 1, 0) for tenth in range(1, 11)]
    return spark([risk[each] for each in at], ink)
