"""A run in a thread of its own, and somebody who steers it by its files."""

import threading
import time

from catena.engine.run import Run
from catena.engine.steering import Control, read_progress, write_control
from catena.errors import CatenaError

__all__ = ["Steered"]


class Steered:
    """Runs a task over rows into a folder, from when it is made to its end."""

    def __init__(self, task, rows, out):
        self.out = out
        self.error = None
        self._number = 0
        self._thread = threading.Thread(target=self._run, args=(task, rows))
        self._thread.start()

    def _run(self, task, rows):
        try:
            Run(task, rows, self.out).execute()
        except CatenaError as error:
            self.error = error

    def seen(self, when=lambda seen: True, seconds=20):
        """Wait until the run says something of the kind."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen = read_progress(self.out)
            if seen is not None and when(seen):
                return seen
            time.sleep(0.005)
        raise AssertionError(f"the run never said so: {read_progress(self.out)}")

    def ask(self, **what):
        """Ask something of the run, and wait until it has arrived."""
        self._number += 1
        write_control(self.out, Control(self.seen().process, self._number, **what))
        return self.seen(lambda seen: seen.number == self._number)

    def end(self):
        """Wait for the end."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.error
