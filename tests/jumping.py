"""Time that jumps: an event loop in which nothing is waited for, so that what takes a minute is over at once, each time alike."""

import asyncio
import selectors

__all__ = ["run_jumping"]


class Selector(selectors.SelectSelector):
    """Where a loop would sleep, its clock jumps to the next thing that is due."""

    now = 0.0

    def select(self, timeout=None):
        """Return what is ready now."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits for something that will never come")
        if not ready:
            self.now += timeout
        return ready


def run_jumping(work, monkeypatch, *modules):
    """Run a coroutine in such a loop, whose time is `monotonic` in these modules too."""
    selector = Selector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now
    for module in modules:
        monkeypatch.setattr(f"{module}.monotonic", loop.time)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
