"""What is asked for of a run's items, as it stands in the address of a page."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from catena.web.index import Cell

__all__ = ["ORDERS", "Filters", "filters_of", "query_of"]

MOST_WORDS = 300
ORDERS = {"row": "input order", "unsure": "least sure first", "sure": "surest first"}


@dataclass(frozen=True)
class Filters:
    """What is asked for; an empty value asks for nothing.

    Args:
        search: Part of the text or of the id, whatever the case.
        label: The label.
        link: Whose label it is.
        status: As in `Cell`.
        failure: `any` for items that some link failed at, or the reason.
        disagree: Only items that links have named different labels for.
        gold: `right` or `wrong`.
        least: Smallest confidence; None for any.
        most: Largest.
        order: One of ORDERS.
    """

    search: str = ""
    label: str = ""
    link: str = ""
    status: str = ""
    failure: str = ""
    disagree: bool = False
    gold: str = ""
    least: float | None = None
    most: float | None = None
    order: str = "row"

    @property
    def bounded(self) -> bool:
        """Whether confidences are asked for."""
        return self.least is not None or self.most is not None

    @property
    def narrow(self) -> bool:
        """Whether anything but an order is asked for."""
        asked = (self.search, self.label, self.link, self.status, self.failure, self.disagree, self.gold)
        return any(asked) or self.bounded

    def takes(self, cell: Cell) -> bool:
        """Whether items of a cell are asked for."""
        return (
            self.label in {"", cell.label}
            and self.link in {"", cell.link}
            and self.status in {"", cell.status}
            and self.gold in {"", cell.gold}
            and (not self.disagree or cell.disagree)
            and (
                not self.failure
                or cell.reason == self.failure
                or (self.failure == "any" and cell.reason != "")
            )
        )


NOTHING = Filters()


def filters_of(given: Mapping[str, str]) -> Filters:
    """Return what the query of an address asks for; what makes no sense asks for nothing."""
    words = {
        name: given.get(name, "")[:MOST_WORDS] for name in ("label", "link", "status", "failure", "gold")
    }
    order = given.get("order", "")
    return Filters(
        search=given.get("search", "").strip()[:MOST_WORDS],
        **words,
        disagree=given.get("disagree") == "1",
        least=_confidence(given.get("least", "")),
        most=_confidence(given.get("most", "")),
        order=order if order in ORDERS else "row",
    )


def query_of(filters: Filters, **more: int) -> str:
    """Return the query of an address that asks for this; empty where it asks for nothing."""
    asked: dict[str, Any] = {
        name: value for name, value in vars(filters).items() if value != getattr(NOTHING, name)
    }
    asked |= {"disagree": 1} if filters.disagree else {}
    asked |= more
    return f"?{urlencode(asked, errors='replace')}" if asked else ""


def _confidence(text: str) -> float | None:
    try:
        value = float(text) if text.isascii() else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
