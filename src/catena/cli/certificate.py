"""catena check --certificate: a promise worked out again from its votes, and held against the labels of its run."""

from pathlib import Path
from typing import Any

__all__ = ["check_certificate"]

MOST_LINES = 20


def check_certificate(output: Any, path: Path, votes: Path | None) -> None:
    """Say whether a certificate follows from the votes, and whether a run's labels are the ones it is about.

    The exit code is 1 where it does not, or where the run has ended with other labels.
    """
    from catena.cli.certify import percent
    from catena.evaluate.certificate import read_certificate
    from catena.evaluate.certified import labels_of_certified, votes_behind, worked_out_again

    said = read_certificate(path)
    folder = votes or votes_behind(said, path)
    differs = worked_out_again(said, folder)
    well = not differs
    asked = said.asked
    if well and said.cut is not None:
        output.say(
            f"{path}: it holds. {folder} gives the same draw, tests and thresholds: with chance {percent(1 - asked.delta)}, at "
            f"least {percent(float(asked.share))} of the labels of {' > '.join(asked.chain)} are those of {asked.reference}."
        )
    elif well:
        output.say(f"{path}: it holds, and promises nothing.")
    else:
        output.say(f"{path}: IT DOES NOT HOLD for {folder}. What it says, and what follows from the votes:")
        output.say(*[f"  {line}" for line in differs[:MOST_LINES]])
        if len(differs) > MOST_LINES:
            output.say(f"  and {len(differs) - MOST_LINES:,} more")
    labels = labels_of_certified(said, folder) if well and said.cut is not None else None
    if labels:
        output.say(f"{folder}: {labels.said}")
    output.result(
        {
            "certificate": str(path),
            "votes": str(folder),
            "well": well,
            "asked": asked,
            "differs": differs,
            "labels": labels.state if labels else None,
        }
    )
    if not well or (labels and labels.state == "other"):
        raise SystemExit(1)
