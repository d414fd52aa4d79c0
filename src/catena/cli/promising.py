"""catena certify TASK DATA: buys what a promise about a run's items takes, and says so before and after."""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["certify_live"]


class Teller:
    """Tells a person what is bought and what the first items show; see `evaluate.certify_run.Teller`."""

    def __init__(self, output: Any) -> None:
        self._output = output
        self._warned: set[str] = set()

    def buys(self, purchases: Sequence[Any]) -> None:
        """Say what will be bought, before anything is."""
        from catena.cli.output import counted

        if not any(each.lacking for each in purchases):
            self._output.say("All votes that this can take are in the ledger: nothing is bought.")
            return
        said = [
            f"{each.link} about {counted(each.most, 'item')}"
            if each.items == each.most
            else f"{each.link} about {each.items:,} to {counted(each.most, 'item')} drawn at random"
            for each in purchases
        ]
        lacking, all_ = sum(each.lacking for each in purchases), sum(each.most for each in purchases)
        there = f" {all_ - lacking:,} of these votes are in the ledger." if lacking < all_ else ""
        self._output.say(f"Asks {', '.join(said)}{_cost(purchases)}.{there}")

    def feasible(self, document: dict[str, Any]) -> None:
        """Say what the first items drawn show."""
        from catena.cli.certify import feasible
        from catena.cli.tables import money

        self._output.say(feasible(document))
        likely = document["likely"]
        if document["ended"] is None and likely["cost_usd"] is not None:
            self._output.say(
                f"If the others are as these, about {likely['escalated']:.0%} of all items go on, for about {money(likely['cost_usd'])} in "
                f"all; {document['chain'][-1]} alone would cost about {money(likely['alone_usd'])}."
            )

    @contextlib.contextmanager
    def asking(self) -> Iterator[Callable[[Any], Any]]:
        """Show progress while links are asked, and each warning once."""
        from catena.cli.watch import Watcher

        watcher = Watcher()
        try:
            with watcher.showing():
                yield watcher.begin
        finally:
            for warning in dict.fromkeys(watcher.warnings):
                if warning not in self._warned:
                    self._warned.add(warning)
                    self._output.warn(warning)


def certify_live(
    output: Any,
    source: Path,
    data: Path,
    out: Path,
    wishes: dict[str, Any],
    *,
    gold: Path | None,
    task: Path | None,
    certificate: Path | None,
) -> None:
    """Buy what a promise takes, then write certificate and task."""
    from catena.cli.certify import asked_for
    from catena.engine.run import Run
    from catena.errors import InputError
    from catena.evaluate.certificate import GOLD, write_certificate, write_certified_task
    from catena.evaluate.certify_run import asking, certify_run
    from catena.task import load_task

    given = load_task(source)
    asked = asked_for(wishes, tuple(link.name for link in given.chain), given.seed)
    if gold is not None and asked.reference != GOLD:
        raise InputError("--gold goes with --reference gold.", "Leave one of them out, or write both.")
    for file, option in ((task, "--task"), (certificate, "--certificate")):
        if file and not file.parent.is_dir():
            raise InputError(f"{file.parent} is no folder.", f"Make it, or choose another {option}.")
    run = Run(asking(given, asked), data, out)
    document, promise = certify_run(run, asked, Teller(output), gold)
    document |= {"run": str(out), "task": None, "certificate": None}
    if promise is not None:
        kept = certificate or out / "certificate.json"
        write_certificate(promise, kept)
        document["certificate"] = str(kept)
    if promise is not None and promise.cut is not None:
        ready = task or out / "certified.yaml"
        write_certified_task(given, promise, ready)
        document["task"] = str(ready)
    _warn(output, document)
    output.result(document)
    if document["certified"] and not output.json:
        _show(output, document, data)


def _cost(purchases: Sequence[Any]) -> str:
    """Say what purchases cost at most, or of which that is unknown."""
    from catena.cli.tables import money

    unknown = [each.link for each in purchases if each.usd is None]
    if unknown:
        return f"; what {' and '.join(unknown)} costs is unknown"
    most = sum(each.usd for each in purchases)
    return f": at most {money(most)}, retries apart" if most else ""


def _warn(output: Any, document: dict[str, Any]) -> None:
    last = document["chain"][-1]
    if document["ended"] is not None:
        output.warn(f"{document['ended']}. It ends here, without a promise.")
        return
    if not document["certified"]:
        output.warn(f"nothing can be promised: {last} alone may miss the agreement. No task file is written.")
    if document["promises"] > 1:
        output.warn(
            f"{document['promises']:,} different promises were asked for in {document['run']}. Each holds by itself with its own "
            f"chance; whoever picks the best of them should have asked each with --delta {document['delta'] / document['promises']:.3g}."
        )
    for each in document["strangers"]:
        output.warn(
            f"{each['votes']:,} votes of {each['link']} are by {each['model']}, which gave none on the first items drawn: these "
            "were asked about before the model changed, and do not stand for the others. Begin anew in another --out."
        )
    for each in document["failed"]:
        if each["votes"] and each["link"] != last:
            output.warn(f"{each['votes']:,} votes of {each['link']} failed: it keeps none of these items.")
        elif each["votes"]:
            output.warn(
                f"{each['votes']:,} votes of {last} failed: drawn items that another link keeps count as wrong."
            )


def _show(output: Any, document: dict[str, Any], data: Path) -> None:
    from catena.cli.certify import show
    from catena.cli.tables import money

    show(output, document)
    to_come, words = (
        document["to_come"],
        shlex.join(["catena", "run", document["task"], str(data), "--out", document["run"]]),
    )
    paid = f"{money(document['paid_usd'])} is paid" if document["paid_usd"] else "Nothing was to pay"
    rest = f", about {money(to_come['cost_usd'])}" if to_come["cost_usd"] else ""
    output.say(
        f"{paid}. {to_come['calls']:,} calls of {to_come['link']} are to come{rest}: {words}",
        f"Then see that its labels are the promised ones: {shlex.join(['catena', 'check', '--certificate', document['certificate']])}",
    )
