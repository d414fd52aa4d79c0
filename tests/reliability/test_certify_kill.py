"""Kill -9 while a promise is bought loses no vote, buys none again that was committed, and changes nothing of the promise."""

import json
import random
import signal

import pytest
from live import MOST_UNCOMMITTED, answers_of, live
from soak import figure, many

from chains import finish, start

ROWS = 300
KILLS = many(3, 60)
EACH = 3
STEPS = ("before a group of votes", "in a commit of votes", "between two groups of votes")


@pytest.fixture
def work(tmp_path):
    """A chain of two links over a provider; the command certifies it."""
    gold = {f"text number {at}": ("favor", "against", "none")[at % 3] for at in range(ROWS)}
    how = {"gold": gold, "accuracy": {"small": 0.9, "big": 0.97}, "sharpness": 3.0}
    with live(tmp_path, rows=ROWS, **how) as running:
        task, rows = running.folder / "task.yaml", running.folder / "rows.csv"
        running.command = ["certify", task, rows, "--agreement", "0.85", "--out"]
        yield running


def certificate_of(out):
    """Return what a certificate says, but for where its votes are."""
    return json.loads((out / "certificate.json").read_text("utf-8")) | {"votes": ""}


def enter(work, out, process, known, sent):
    """Wait for a process that was to be killed.

    Returns:
        What is in the ledger now, how many answers were paid in vain, and whether it was killed before its end.
    """
    code, _, err = finish(process)
    assert code in {0, -signal.SIGKILL}, err
    found = answers_of(out)
    assert not [key for key, answer in known.items() if found.get(key) != answer]
    in_vain = work.answers_sent() - sent - (len(found) - len(known))
    assert in_vain <= work.in_flight + MOST_UNCOMMITTED
    return found, in_vain, code != 0


def test_killed_while_it_buys(work, tmp_path):
    """At random points and within commits, then again and again the same command: as if nothing had been."""
    draw, most, kills = random.Random(7), 0, 0
    unbroken = tmp_path / "unbroken"
    assert finish(work.start(unbroken))[0] == 0
    whole = len(answers_of(unbroken))
    for at in range(KILLS // EACH):
        out, known, began, lost = tmp_path / f"r{at}", {}, work.answers_sent(), 0
        for point in sorted(draw.sample(range(4, whole - 10), EACH)):
            sent = work.answers_sent()
            if draw.random() < 0.5:
                process = work.start(out)
                work.wait(process, sent + max(point - len(known), 1))
                process.kill()
            else:
                process = work.start_dying(draw.choice(STEPS), draw.randint(1, 3), out)
            known, in_vain, killed = enter(work, out, process, known, sent)
            most, lost, kills = max(most, in_vain), lost + in_vain, kills + killed
        code, _, err = finish(work.start(out))
        assert code == 0, err
        assert len(answers_of(out)) == whole
        assert work.answers_sent() - began == whole + lost
        assert certificate_of(out) == certificate_of(unbroken)
    figure(
        "kill while a promise is bought",
        f"{kills} kills, 0 committed votes lost, at most {most} re-bought per kill",
    )
    assert kills > KILLS / 2
    out = tmp_path / "r0"
    words = ["run", out / "certified.yaml", work.folder / "rows.csv", "--out", out]
    assert finish(start(*words))[0] == 0
    code, said, _ = finish(start("check", "--certificate", out / "certificate.json", out, "--json"))
    assert (code, json.loads(said)["labels"]) == (0, "certified")
