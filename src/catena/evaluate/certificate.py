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
import yaml

from catena.data.tables import replacing
from catena.data.votes import VoteTable
from catena.errors import InputError
from catena.evaluate.certify import Certified, Certifier, Rows, Tested, drawn_order

__all__ = [
    "GOLD",
    "Asked",
    "Certificate",
    "certify",
    "differences",
    "read_certificate",
    "write_certificate",
    "write_task",
]

GOLD = "gold"
HEADING = """\
# Made by catena certify. Replay it on the votes it was made from: catena simulate VOTES --task THIS_FILE
# To run it live, give every link of the chain its own kind and model, and the task its instruction.
"""


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
        votes: Folder of the vote table.
        digest: Of all votes of the links before the last, and of the item ids.
        asked: The settings.
        items: How many items the promise is about.
        allowed: How many of their labels may be wrong.
        fit: Drawn items that fitted the path, in the order drawn.
        sample: Drawn items that were tested, in the order drawn.
        path: The cuts from strict to loose.
        tests: Those that decided.
        cut: Index of the certified cut; None where nothing can be promised.
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

    @property
    def thresholds(self) -> list[float]:
        """What the certified chain keeps: the least confidence of each link before the last; infinite for nothing."""
        cut = self.path[self.cut or 0]
        return [math.inf if value is None else value for value in cut.thresholds]


def certify(table: VoteTable, asked: Asked, folder: str) -> tuple[Certifier, Certified, Certificate]:
    """Find what can be promised, and write it down.

    Args:
        table: Votes of at least the chain's links.
        asked: The settings.
        folder: Where the table is.

    Raises:
        InputError: Settings that make no sense.
        DataError: Unknown links, or drawn items whose label the reference does not have.
    """
    votes = table.chain(asked.chain)
    _check(asked)
    labels, known = _reference(table, asked)
    certifier = Certifier(votes, labels, known, own=asked.reference == asked.chain[-1])
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
    )
    return certifier, found, certificate


def _check(asked: Asked) -> None:
    """Refuse settings under which a promise would mean nothing."""
    if not re.fullmatch(r"\d?(\.\d{1,30})?", asked.agreement) or asked.agreement in {"", "."}:
        raise InputError(f"--agreement {asked.agreement}: not a share.", "Write 0.9 for 90 %.")
    if not 0 <= asked.share <= 1:
        raise InputError(f"--agreement {asked.agreement}: a share is from 0 to 1.", "Write 0.9 for 90 %.")
    if not 0 < asked.delta < 1:
        raise InputError(f"--delta {asked.delta}: a chance above 0 and below 1.", "Write 0.1 for 10 %.")
    if asked.most is not None and asked.most < 1:
        raise InputError(f"--sample {asked.most}: at least one item must be drawn.")
    if len(asked.chain) < 2:
        raise InputError("--chain: a promise needs at least two links.", "Write --chain small,big.")
    if asked.reference in asked.chain[:-1]:
        raise InputError(
            f"--reference {asked.reference}: a link before the last can't be the reference.",
            "Name the last link, one outside the chain, or gold.",
        )


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


def write_task(certificate: Certificate, labels: Sequence[str], path: File) -> None:
    """Write the certified chain as a task file; its links replay the votes that it was certified on."""
    asked = certificate.asked
    task: dict[str, Any] = {
        "name": "certified",
        "instruction": "Which label fits the text?",
        "labels": list(labels),
        "chain": [{"name": name, "kind": "replay", "votes": certificate.votes} for name in asked.chain],
        "policy": {"threshold": certificate.thresholds},
        "aggregate": "last",
        "seed": asked.seed,
    }
    text = yaml.safe_dump(task, sort_keys=False, allow_unicode=True, width=110)
    with replacing(path) as file:
        file.write((HEADING + text).encode())
