"""A certificate: everything that a promise rests on, in a file from which anyone with the votes can work it out again."""

import hashlib
import math
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path as File
from typing import Any, Literal

import msgspec
import numpy as np

from catena.data.tables import replacing
from catena.data.votes import VoteTable
from catena.errors import InputError
from catena.evaluate.certify import Certified, Certifier, Rows, Tested
from catena.evaluate.looks import drawn_order
from catena.evaluate.task_file import REPLAY, write_task
from catena.routing import Policy
from catena.task import Columns, LinkSpec, TaskSpec

__all__ = [
    "GOLD",
    "Asked",
    "Certificate",
    "certified_task",
    "certifier_of",
    "certify",
    "differences",
    "read_certificate",
    "write_certificate",
    "write_certified",
    "write_certified_task",
]

GOLD = "gold"


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a certificate is asked for.

    Args:
        chain: Names of the links in order.
        reference: The link whose labels must be met, or `gold`.
        agreement: The share of all items, as a decimal number from 0 to 1.
        delta: The chance that the promise is false.
        seed: Of the draw.
        most: The most items that may be drawn; None for as many as are worth it.
    """

    chain: tuple[str, ...]
    reference: str
    agreement: str
    delta: float
    seed: int
    most: int | None

    @property
    def share(self) -> Fraction:
        """The agreement, exactly."""
        return Fraction(self.agreement)

    @property
    def own(self) -> bool:
        """Whether the reference is the last link."""
        return self.reference == self.chain[-1]

    def check(self) -> None:
        """Refuse settings under which a promise would mean nothing.

        Raises:
            InputError: They are such.
        """
        if not re.fullmatch(r"\d?(\.\d{1,30})?", self.agreement) or self.agreement in {"", "."}:
            raise InputError(f"--agreement {self.agreement}: not a share.", "Write 0.9 for 90 %.")
        if not 0 <= self.share <= 1:
            raise InputError(f"--agreement {self.agreement}: a share is from 0 to 1.", "Write 0.9 for 90 %.")
        if not 0 < self.delta < 1:
            raise InputError(f"--delta {self.delta}: a chance above 0 and below 1.", "Write 0.1 for 10 %.")
        if self.most is not None and self.most < 1:
            raise InputError(f"--sample {self.most}: at least one item must be drawn.")
        if len(self.chain) < 2:
            raise InputError("--chain: a promise needs at least two links.", "Write --chain small,big.")
        if self.reference in self.chain[:-1]:
            raise InputError(
                f"--reference {self.reference}: a link before the last can't be the reference.",
                "Name the last link, one outside the chain, or gold.",
            )


class Drawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A drawn item and the reference's label; None where it has none."""

    item: str
    reference: str | None


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thresholds of the links before the last (None: it keeps nothing), and how many items these links keep."""

    thresholds: tuple[float | None, ...]
    kept: int


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is promised, and why.

    Args:
        certificate: Version of the method.
        votes: Folder of the vote table, or of the run.
        digest: Of all votes of the links before the last, and of the item ids.
        asked: The settings.
        items: How many items the promise is about.
        allowed: How many of their labels may be wrong.
        fit: Drawn items that fitted the path, in the order drawn.
        sample: Drawn items that were tested, in the order drawn.
        path: The cuts from strict to loose.
        tests: Those that decided.
        cut: Index of the certified cut; None where nothing can be promised.
        gold: File of the gold, where that is not in the rows themselves.
    """

    certificate: Literal[1]
    votes: str
    digest: str
    asked: Asked
    items: int
    allowed: int
    fit: tuple[Drawn, ...]
    sample: tuple[Drawn, ...]
    path: tuple[Cut, ...]
    tests: tuple[Tested, ...]
    cut: int | None
    gold: str | None = None

    @property
    def thresholds(self) -> list[float]:
        """What the certified chain keeps: the least confidence of each link before the last; infinite for nothing."""
        cut = self.path[self.cut or 0]
        return [math.inf if value is None else value for value in cut.thresholds]


def certifier_of(table: VoteTable, asked: Asked) -> Certifier:
    """Return what certifies the chain that is asked for; see `certify`."""
    votes = table.chain(asked.chain)
    asked.check()
    labels, known = _reference(table, asked)
    return Certifier(votes, labels, known, own=asked.own)


def certify(
    table: VoteTable, asked: Asked, folder: str, gold: str | None = None
) -> tuple[Certifier, Certified, Certificate]:
    """Find what can be promised, and write it down.

    Args:
        table: Votes of at least the chain's links.
        asked: The settings.
        folder: Where the table is.
        gold: The file that the table's gold is from, where that is not in the rows themselves.

    Raises:
        InputError: Settings that make no sense.
        DataError: Unknown links.
        LackingError: Drawn items whose label the reference does not have.
    """
    certifier = certifier_of(table, asked)
    votes, labels = certifier.votes, certifier.reference
    order = drawn_order(table.item_ids.tolist(), asked.seed)
    found = certifier.certify(asked.share, asked.delta, order, asked.most)

    def drawn(rows: Rows) -> tuple[Drawn, ...]:
        names = [*table.labels, None]
        return tuple(Drawn(str(table.item_ids[row]), names[int(labels[row])]) for row in rows)

    certificate = Certificate(
        1,
        folder,
        _digest(votes),
        asked,
        len(votes),
        found.allowed,
        drawn(found.fit),
        drawn(found.sample),
        tuple(
            Cut(tuple(None if math.isinf(value) else float(value) for value in row), int(kept))
            for row, kept in zip(found.path.thresholds, found.path.kept, strict=True)
        ),
        found.tests,
        found.cut if found.cut >= 0 else None,
        gold,
    )
    return certifier, found, certificate


def _reference(table: VoteTable, asked: Asked) -> tuple[Any, Any]:
    """Return the reference's label of every item, and whether it was asked."""
    if asked.reference == GOLD:
        if not (table.gold >= 0).any():
            raise InputError("--reference gold: the vote table has no gold.", "Name a link.")
        return table.gold, table.gold >= 0
    alone = table.chain([asked.reference])
    return alone.label[0], alone.recorded[0]


def _digest(votes: VoteTable) -> str:
    """Return a fingerprint of the ids, the labels, and all votes of the links before the last."""
    confidence = np.where(np.isnan(votes.confidence[:-1]), np.nan, votes.confidence[:-1]) + 0.0
    digest = hashlib.blake2b(digest_size=16)
    digest.update(msgspec.json.encode([votes.labels, votes.item_ids.tolist()]))
    digest.update(votes.label[:-1].astype("<i2").tobytes() + confidence.astype("<f8").tobytes())
    return digest.hexdigest()


def write_certificate(certificate: Certificate, path: File) -> None:
    """Write a certificate as JSON."""
    with replacing(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(certificate), indent=1) + b"\n")


def read_certificate(path: File) -> Certificate:
    """Read a certificate.

    Raises:
        InputError: The file can't be read or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Certificate)
    except OSError as error:
        raise InputError(f"{path}: can't read the certificate: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a certificate: {error}.", "Make one: catena certify") from error


def differences(said: Certificate, found: Certificate) -> list[str]:
    """Return what a certificate says otherwise than a recomputation, one line each; where the votes are is no matter."""
    places: list[str] = []
    _compare("", msgspec.to_builtins(said), msgspec.to_builtins(found), places)
    return [place for place in places if not place.startswith("votes:")]


def _compare(name: str, said: Any, found: Any, places: list[str]) -> None:
    if isinstance(said, dict) and isinstance(found, dict):
        for key in said:
            _compare(f"{name}.{key}" if name else key, said[key], found[key], places)
    elif isinstance(said, Sequence) and not isinstance(said, str) and isinstance(found, Sequence):
        if len(said) != len(found):
            places.append(f"{name}: {len(said):,} entries, not {len(found):,}")
            return
        for at, (one, other) in enumerate(zip(said, found, strict=True)):
            _compare(f"{name}[{at}]", one, other, places)
    elif said != found and not (name.endswith(".chance") and math.isclose(said, found, rel_tol=1e-9)):
        places.append(
            f"{name}: {said}, not {found}"
        )  # logarithms may differ in their last digit between machines


def write_certified(certificate: Certificate, labels: Sequence[str], path: File) -> None:
    """Write the certified chain as a task file; its links replay the votes that it was certified on."""
    asked = certificate.asked
    chain = tuple(LinkSpec(name, "replay", {"votes": certificate.votes}) for name in asked.chain)
    question, words = "Which label fits the text?", dict.fromkeys(labels, "")
    task = TaskSpec("certified", question, words, Columns(), chain, seed=asked.seed)
    write_task(certified_task(task, certificate), path, "# Made by catena certify.\n" + REPLAY)


def write_certified_task(task: TaskSpec, certificate: Certificate, path: File) -> None:
    """Write a task with the certified chain in the place of its own, ready to run where its votes are."""
    asked = certificate.asked
    heading = (
        f"# Made by catena certify: with chance {1 - asked.delta:.6g}, at least the share {asked.agreement} of this chain's labels\n"
        f"# are those of {asked.reference}. That is said of the votes in {certificate.votes}: run it there.\n"
    )
    write_task(certified_task(task, certificate), path, heading)


def certified_task(task: TaskSpec, certificate: Certificate) -> TaskSpec:
    """Return a task with the chain, the thresholds and the aggregate of a certificate; the links are the task's own."""
    links = {link.name: link for link in task.chain}
    return msgspec.structs.replace(
        task,
        chain=tuple(links[name] for name in certificate.asked.chain),
        policy=Policy(threshold=tuple(certificate.thresholds)),
        aggregate="last",
        calibrated=None,
    )
