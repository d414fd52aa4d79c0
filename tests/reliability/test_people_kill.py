"""Kill -9 of a run that waits for people loses no label that somebody gave, and asks nobody for it again."""

import random
import signal
import subprocess
import sys
import time

import pytest
from live import DYING
from soak import figure, many

from chains import finish, labels_of, start
from people import data_of, person, recorded, text_of

KILLS = many(3, 40)
WAITING = many(60, 240)
N = 2 * WAITING
STEPS = (
    "votes written, not committed",
    "writing labels",
    "before a group of votes",
    "between two groups of votes",
    "marking finished",
)
SHORT = many(2, len(STEPS))


@pytest.fixture
def command(tmp_path):
    """What begins a run of which half of the items wait for people."""
    votes = recorded(tmp_path / "votes", N)
    (tmp_path / "task.yaml").write_text(text_of(votes), "utf-8")
    data_of(N).to_csv(tmp_path / "rows.csv", index=False)
    return ["run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]


def says(claim):
    """Return a label that belongs to the item, a little later."""
    time.sleep(0.05)
    return "against" if claim.row % 2 else "none"


def check(out, who):
    """See that the result has exactly what was said."""
    found = {row["id"]: row["label"] for row in labels_of(out) if row["link"] == "people"}
    assert found == who.given
    assert len(found) == WAITING


def test_at_random_moments(command, tmp_path):
    """While somebody labels, the run is killed again and again, and begun again."""
    draw = random.Random(2)
    with person(tmp_path / "r", WAITING, says) as who:
        for _ in range(KILLS):
            run, before, end = start(*command), len(who.given), time.monotonic() + 20
            while (
                len(who.given) < before + WAITING // KILLS // 2
                and run.poll() is None
                and time.monotonic() < end
            ):
                time.sleep(0.01)
            time.sleep(draw.uniform(0.0, 0.3))
            run.kill()
            code, _, err = finish(run)
            assert code in {0, -signal.SIGKILL}, err
    code, _, err = finish(start(*command))
    assert code == 0, err
    check(tmp_path / "r", who)
    figure(
        "people", f"{KILLS} kills while a person labelled {WAITING} items: no label lost, nobody asked twice"
    )


@pytest.mark.parametrize("step", STEPS[:SHORT])
def test_at_named_steps(command, tmp_path, step):
    """The run dies where it takes labels in or writes the result; it goes on, and has them all."""
    with person(tmp_path / "r", WAITING, lambda claim: "against" if claim.row % 2 else "none") as who:
        line = [
            sys.executable,
            str(DYING),
            step,
            "2" if "votes" in step else "1",
            str(int(signal.SIGKILL)),
            *map(str, command),
        ]
        run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        code, _, err = finish(run)
        assert code == -signal.SIGKILL, err
        code, _, err = finish(start(*command))
        assert code == 0, err
    check(tmp_path / "r", who)
