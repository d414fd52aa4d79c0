"""Shards keep within a provider's limits, lose no question, and hold none in memory."""

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.engine.batches import BatchAsker, Desk
from catena.engine.budget import Budget
from catena.engine.inbox import Queue
from catena.engine.progress import LinkProgress
from catena.engine.spool import Spool, leftovers, sweep
from catena.ledger import WritableLedger
from catena.links.batch import BatchProgress, Limits, Result, custom_id, key_of
from catena.types import NOTHING_USED, Usage, Vote

LINK = SimpleNamespace(name="x", fingerprint=b"f" * 16, most=lambda prompt: Usage(len(prompt), 1, 0.5))


def key_at(at):
    """Return a key."""
    return at.to_bytes(16, "big")


class Endpoint:
    """A batch endpoint in memory, which notes what it is given and answers with the prompts."""

    poll, most_open = 0.001, 2

    def __init__(self, limits):
        self.limits = limits
        self.made = []

    def line(self, name, prompt):
        """Write a line."""
        return msgspec.json.encode({"custom_id": name, "prompt": prompt})

    async def submit(self, sent):
        """Take a file."""
        self.made.append(sent.path.read_bytes())
        return str(len(self.made) - 1)

    async def find(self, sent, known):
        """Know nothing."""

    async def progress(self, remote):
        """Have ended."""
        return BatchProgress("ended", "completed")

    async def results(self, remote):
        """Yield an answer for each line, the last first."""
        for line in reversed(self.made[int(remote)].splitlines()):
            said = msgspec.json.decode(line)
            yield Result(said["custom_id"], "answered", Vote("a", text=said["prompt"], usage=NOTHING_USED))


async def ask(endpoint, prompts, folder):
    """Ask about all prompts through a ledger in a folder; return the answers by key, and the batches it knows."""
    ledger = WritableLedger(folder)
    writer = ledger.writer(lambda group: None)
    got = {}

    async def answered(key, answer):
        assert key not in got
        got[key] = answer.text

    try:
        desk = Desk(
            LINK,
            endpoint,
            1,
            ledger,
            writer,
            Budget(None, NOTHING_USED),
            LinkProgress("x", "", 0),
            print,
            print,
        )
        asker = BatchAsker(desk)
        assert not await asker.adopt()
        questions = Queue(len(prompts) + 1)
        for at, prompt in enumerate(prompts):
            await questions.put((key_at(at), prompt))
        questions.close()
        await asker.work(questions, answered)
        return got, ledger.batches()
    finally:
        await writer.close()
        ledger.close()


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=25),
    st.integers(1, 8),
    st.integers(60, 400),
)
def test_shards_keep_within_the_limits(prompts, most, most_bytes):
    """Every question goes out once and its answer comes back; only a single question may be larger than a batch."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = Endpoint(Limits(most, most_bytes))
        got, records = asyncio.run(ask(endpoint, prompts, Path(folder)))
        assert not list(Path(folder).glob("batches/*"))
    assert got == {key_at(at): prompt for at, prompt in enumerate(prompts)}
    assert sum(record.count for record in records) == len(prompts)
    for made in endpoint.made:
        lines = made.splitlines()
        assert 1 <= len(lines) <= most
        assert len(made) <= most_bytes or len(lines) == 1
    assert {record.state for record in records} <= {"harvested"}


def test_what_the_ledger_is_told(tmp_path):
    """A closed shard names its keys in order and the sum of the bounds; its file has one line each."""
    spool = Spool(tmp_path, LINK, 3, Limits(10, 1000))
    for at in range(3):
        spool.add(key_at(at), b"{}", Usage(10, 2, 0.5))
    record = spool.close()
    assert record.split_keys() == [key_at(at) for at in range(3)]
    assert (record.link, record.count, record.most_usd, record.most_tokens) == (3, 3, 1.5, 36)
    assert record.most.calls == 3
    assert record.path(tmp_path).read_bytes() == b"{}\n" * 3


def test_leftovers(tmp_path):
    """What is left over goes into a new shard under the new shard's name; what is not in the file is named."""
    spool = Spool(tmp_path, LINK, 1, Limits(10, 1000))
    for at in range(3):
        line = msgspec.json.encode({"custom_id": custom_id(spool.shard, key_at(at)), "body": {"at": at}})
        spool.add(key_at(at), line, Usage(10, 2, 0.5))
    record = spool.close()
    second = Spool(tmp_path, LINK, 1, Limits(10, 1000), tries=2)
    assert leftovers(record, tmp_path, {key_at(1), key_at(9)}, second) == {key_at(9)}
    again = second.close()
    (line,) = again.path(tmp_path).read_bytes().splitlines()
    said = msgspec.json.decode(line)
    assert (key_of(again.shard, said["custom_id"]), said["body"]) == (key_at(1), {"at": 1})
    assert (again.tries, again.count, again.most_usd) == (2, 1, 1.5)


def test_sweep(tmp_path):
    """Files of a link that no open batch names go; those of other links and of open batches stay."""
    kept, gone, others = (Spool(tmp_path, LINK, number, Limits(1, 1)) for number in (1, 1, 2))
    sweep(tmp_path, 1, [kept.close()])
    assert kept.path.exists()
    assert others.path.exists()
    assert not gone.path.exists()
    for spool in (kept, gone, others):
        spool.discard()
