"""Whether new calls may begin; those in flight are none of its business."""

import asyncio

__all__ = ["Pause"]


class Pause:
    """Holds back whatever asks it, from `begin` to `end`.

    Attributes:
        on: Whether it lasts.
    """

    def __init__(self) -> None:
        self.on = False
        self._over = asyncio.Event()
        self._over.set()

    def begin(self) -> None:
        """Hold back what asks from now on."""
        self.on = True
        self._over.clear()

    def end(self) -> None:
        """Let everything go on."""
        self.on = False
        self._over.set()

    async def over(self) -> None:
        """Return as soon as nothing is held back."""
        await self._over.wait()
