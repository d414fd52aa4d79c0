"""What a run takes in: the given rows, questions and links beside those that its folder holds."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from catena import __version__
from catena.data.rows import Rows
from catena.errors import ChangedError
from catena.ledger import Ledger, WritableLedger
from catena.prompts import examples_key
from catena.task import TaskSpec
from catena.types import Link

__all__ = ["admit", "changed_links", "refuse"]


def admit(
    ledger: WritableLedger, given: Rows, task: TaskSpec, links: Sequence[Link], *, update: bool
) -> None:
    """Take the rows in, or see that they are the ones of the run; refuse changed links, questions and rows.

    What is refused changes nothing in the run.

    Args:
        ledger: Of the run.
        given: The rows.
        task: What to do.
        links: Its links.
        update: Whether to go on although something changed.

    Raises:
        ChangedError: The folder holds a run of other rows, prompts or settings, and `update` is not given.
    """
    facts: dict[str, Any] = {
        "columns": given.column_names,
        "id_type": given.id_type,
        "template": _template_key(task),
        "version": __version__,
        "source": given.name,
        "gold": task.data.gold,
    }
    if ledger.get("columns") is None:
        ledger.replace_items(given, **facts, finished=None)
        return
    changed = changed_links(ledger, links)
    asked_anew = ledger.get("template") != facts["template"]
    if asked_anew:
        changed.append("the questions changed (instruction, prompt, labels, examples, columns or max_chars)")
    golds = {ledger.get("gold"), task.data.gold} - {None}
    moved = ledger.get("gold") != task.data.gold
    rows = ledger.compare_items(given, ignore=golds if moved else ())
    if rows:
        changed.append(f"rows changed ({rows})")
    refuse(ledger, changed, update=update)
    if rows or asked_anew:
        ledger.replace_items(given, **facts, finished=None)
    elif moved or rows.gold:
        ledger.replace_items(given, keep_asked=True, **facts, stale=True)


def refuse(ledger: Ledger, changed: Sequence[str], *, update: bool) -> None:
    """Refuse what changed, said in words, unless the run shall go on with it.

    Raises:
        ChangedError: Something changed, and `update` is not given.
    """
    if changed and not update:
        votes = sum(ledger.votes_count(number) for number, _ in ledger.links().values())
        raise ChangedError(
            f"{ledger.folder} holds another run with {votes:,} votes: {'; '.join(changed)}.",
            "Add --update to go on and buy only what is new, --fresh to move the old run aside, or choose another --out.",
        )


def changed_links(ledger: Ledger, links: Sequence[Link]) -> list[str]:
    """Say of each link whose votes are those of other settings that it is so."""
    known = ledger.links()
    return [
        f"link '{link.name}' has other settings or labels than those of its {votes:,} votes"
        for link in links
        if link.name in known
        and known[link.name][1] != link.fingerprint
        and (votes := ledger.votes_count(known[link.name][0]))
    ]


def _template_key(task: TaskSpec) -> str:
    """Return what changes when questions change although rows and links do not."""
    columns = [task.data.text, task.data.id, task.data.target]
    said: list[Any] = [task.instruction, task.prompt, dict(task.labels), columns, task.max_chars]
    if task.examples:
        said.append(examples_key(task))
    if task.abstain is not None:
        said.append(task.abstain)
    return hashlib.blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()
