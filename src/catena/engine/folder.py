"""The folder of a run: made, recognised, moved out of the way."""

from pathlib import Path

from catena.errors import InputError
from catena.ledger import FILE, RunLock

__all__ = ["make_folder", "move_aside"]


def make_folder(folder: Path) -> None:
    """Make the folder of a run, or see that it is one.

    Raises:
        InputError: It holds something else, or can't be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / "lock").exists() and not (folder / FILE).exists():
            raise InputError(
                f"{folder} holds other files and no run.", "Choose an empty or new folder for --out."
            )
    except OSError as error:
        raise InputError(
            f"{folder}: can't be used as the run's folder: {error.strerror}.", "Choose another --out."
        ) from error


def move_aside(folder: Path) -> None:
    """Give the folder of a run another name, so that nothing that was paid is lost; without a run it stays.

    Raises:
        BusyError: A process works on it.
    """
    if not (folder / FILE).exists():
        return
    lock = RunLock(folder)
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    folder.rename(aside)
    lock.release()
