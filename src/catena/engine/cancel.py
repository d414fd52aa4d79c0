"""Asking providers to cancel the open batches of a run."""

import asyncio
from collections.abc import Mapping, Sequence

from catena.engine.run import task_of
from catena.engine.spool import sent
from catena.errors import InputError, LinkError
from catena.ledger import Ledger
from catena.ledger.batches import BatchRecord
from catena.links import open_link
from catena.links.batch import Batching, batching_of
from catena.links.client import CallError, GoneError
from catena.types import Link

__all__ = ["cancel_batches"]


def cancel_batches(ledger: Ledger, remote: str | None = None) -> list[BatchRecord]:
    """Ask to cancel the open batches of a run; the ledger stays as it is, and the next run sees what came of it.

    Args:
        ledger: Of the run.
        remote: The provider's id of the only batch that is meant.

    Returns:
        The batches that the provider was asked about.

    Raises:
        InputError: There is no such open batch, or the run's task has no batch link for one.
        LinkError: The provider refuses, or can't be reached.
    """
    records = [record for record in ledger.batches() if record.open and remote in {None, record.remote}]
    if remote is not None and not records:
        raise InputError(
            f"{ledger.folder} has no open batch '{remote}'.", "Its batches: catena batch list RUN"
        )
    if not records:
        return []
    task = task_of(ledger)
    names = {number: name for name, (number, _) in ledger.links().items()}
    links = {spec.name: open_link(spec, task) for spec in task.chain}
    batchings: dict[str, Batching] = {}
    for name in sorted({names[record.link] for record in records}):
        batching = batching_of(links[name]) if name in links else None
        if batching is None:
            raise InputError(
                f"link '{name}' has open batches, and is no batch link of the run's task any more.",
                "Cancel them at the provider.",
            )
        batchings[name] = batching
    return asyncio.run(_cancel(ledger, records, [links[name] for name in batchings], batchings, names))


async def _cancel(
    ledger: Ledger,
    records: Sequence[BatchRecord],
    links: Sequence[Link],
    batchings: Mapping[str, Batching],
    names: Mapping[int, str],
) -> list[BatchRecord]:
    asked = []
    try:
        for link in links:
            link.ready()
        for record in records:
            batching = batchings[names[record.link]]
            known = {other.remote for other in ledger.batches() if other.remote}
            try:
                remote = record.remote or await batching.find(sent(record, ledger.folder), known)
                if remote is not None:
                    await batching.cancel(remote)
                    asked.append(record)
            except GoneError:
                continue  # the next run says so
            except CallError as error:
                raise LinkError(
                    f"link '{names[record.link]}': batch {record.remote or record.shard} can't be cancelled: "
                    f"{error}.",
                    "Run the same command again.",
                ) from error
    finally:
        for link in links:
            await link.close()
    return asked
