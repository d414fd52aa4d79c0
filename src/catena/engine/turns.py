"""Links that take turns: for local models that don't fit into memory together."""

import asyncio
from collections.abc import Sequence

from catena.types import Link

__all__ = ["Turns"]


class Turns:
    """Lets one link be asked at a time, and frees the one before.

    A link's turn comes when the link before it has finished. A cap on spending (`steered`) decides step by step where the
    money goes, so there only the first link finishes before the others begin, and these may have several turns: one for
    each block of rows.

    Args:
        links: The links in the order of the chain.
        steered: Whether a cap on spending steers them.
    """

    def __init__(self, links: Sequence[Link], *, steered: bool) -> None:
        self._links = links
        self._steered = steered
        self._finished = [asyncio.Event() for _ in links]
        self._at = 0

    async def wait(self, at: int) -> None:
        """Return when a link may be asked; whichever was asked before holds nothing any more."""
        if at:
            await self._finished[0 if self._steered else at - 1].wait()
        if at != self._at:
            before, self._at = self._at, at
            await self._links[before].close()

    def finish(self, at: int) -> None:
        """Say that a link has settled all that reached it."""
        self._finished[at].set()
