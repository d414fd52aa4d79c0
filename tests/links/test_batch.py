"""Both batch protocols against the fake provider: files, batches, lists, results, cancelling, and their errors."""

import asyncio
import time

import pytest

from catena.errors import LinkError, TaskError
from catena.links import open_link
from catena.links.batch import Sent, custom_id, key_of, lines
from catena.links.client import CallError, GoneError
from catena.testing.provider import FakeProvider
from catena.types import Failure, Vote
from chains import BATCH, KINDS, LABELS, chain_task, open_alone

SHARD, OTHER = "0a" * 12, "0b" * 12
kinds = pytest.mark.parametrize("kind", KINDS)


def link_to(provider, kind, **options):
    """Return a batch link to the provider."""
    return open_alone(KINDS[kind](provider, **BATCH | options))


def file_of(link, folder, count=3, shard=SHARD):
    """Write a file of questions."""
    path = folder / f"{shard}.jsonl"
    named = [custom_id(shard, bytes([at]) * 16) for at in range(count)]
    path.write_bytes(b"".join(link.batches.line(name, f"What is {name}?") + b"\n" for name in named))
    return Sent(shard, path, count, time.time())


def work(link, steps):
    """Run a coroutine function of the link's batches, and close the link."""

    async def run():
        try:
            return await steps(link.batches)
        finally:
            await link.close()

    return asyncio.run(run())


async def read(batches, remote):
    """Return the results by custom_id."""
    return {result.custom_id: result async for result in batches.results(remote)}


@kinds
def test_from_the_file_to_the_results(tmp_path, kind):
    """A file becomes a batch, which ends, and its results are votes by custom_id."""
    with FakeProvider(labels=list(LABELS), other=0.0) as provider:
        link = link_to(provider, kind)
        sent = file_of(link, tmp_path)

        async def steps(batches):
            remote = await batches.submit(sent)
            return await batches.progress(remote), await read(batches, remote)

        seen, results = work(link, steps)
    assert (seen.state, seen.done, seen.cancelled) == ("ended", 3, False)
    assert [key_of(SHARD, name) for name in sorted(results)] == [bytes([at]) * 16 for at in range(3)]
    for name, result in results.items():
        truth = provider.distribution(f"What is {name}?", "small")
        assert (result.outcome, result.answer.label) == ("answered", max(truth, key=truth.get))
        assert isinstance(result.answer, Vote)


@kinds
def test_find(tmp_path, kind):
    """A batch is found again among many by its shard, on whatever page; another shard's of the same size is not taken.

    That it was not another shard's changes nothing for its own.
    """
    with FakeProvider(labels=list(LABELS)) as provider:
        link = link_to(provider, kind)
        sent, other = file_of(link, tmp_path), file_of(link, tmp_path, shard=OTHER)

        async def steps(batches):
            assert await batches.find(sent, ()) is None
            mine = await batches.submit(sent)
            for _ in range(105):
                await batches.submit(other)
            unlike = file_of(link, tmp_path, shard="0c" * 12)
            none = await batches.find(unlike, ())
            return mine, await batches.find(sent, ()), none

        mine, found, none = work(link, steps)
    assert mine == found
    assert none is None


def test_find_waits_for_what_may_be_ours(tmp_path):
    """At Anthropic a batch of the right size is waited for; one that is known to be another's is not."""
    with FakeProvider(labels=list(LABELS), batch_seconds=1000.0) as provider:
        link = link_to(provider, "anthropic")
        sent = file_of(link, tmp_path)

        async def steps(batches):
            remote = await batches.submit(sent)
            assert await batches.find(file_of(link, tmp_path, shard=OTHER), {remote}) is None
            looking = asyncio.ensure_future(batches.find(sent, ()))
            assert not (await asyncio.wait([looking], timeout=0.2))[0]
            await asyncio.to_thread(provider.control, batch_seconds=0.0)
            return remote, await looking

        remote, found = work(link, steps)
    assert remote == found


@kinds
def test_cancel(tmp_path, kind):
    """A cancelled batch ends, with what was answered by then."""
    with FakeProvider(labels=list(LABELS), batch_seconds=1000.0) as provider:
        link = link_to(provider, kind)
        sent = file_of(link, tmp_path, count=4)

        async def steps(batches):
            remote = await batches.submit(sent)
            before = await batches.progress(remote)
            await batches.cancel(remote)
            return before, await batches.progress(remote), await read(batches, remote)

        before, after, results = work(link, steps)
    assert (before.state, before.cancelled) == ("working", False)
    assert (after.state, after.cancelled) == ("ended", True)
    assert sorted(result.outcome for result in results.values()) == ["answered"] * 2 + ["cancelled"] * 2


@kinds
def test_gone(tmp_path, kind):
    """A batch that the provider has forgotten is told from an address that is wrong, and so are deleted results."""
    with FakeProvider(labels=list(LABELS)) as provider:
        link = link_to(provider, kind)
        sent, other = file_of(link, tmp_path), file_of(link, tmp_path, shard=OTHER)

        async def steps(batches):
            gone, kept = await batches.submit(sent), await batches.submit(other)
            results = {"openai": f"{kept}-output", "anthropic": f"{kept}/results"}[kind]
            provider.control(forgotten=[gone, results])
            for work in (batches.cancel(gone), read(batches, gone), read(batches, kept)):
                with pytest.raises(GoneError, match="HTTP 404: There is no"):
                    await work
            assert await batches.find(sent, ()) is None
            return await batches.progress(gone), await batches.progress(kept)

        gone, kept = work(link, steps)
        elsewhere = link_to(provider, kind, base_url=f"{provider.base_url}/elsewhere")
        with pytest.raises(LinkError, match="Check model and base_url"):
            work(elsewhere, lambda batches: batches.progress("batch_1"))
    assert (gone.state, kept.state) == ("lost", "ended")
    assert gone.said.startswith("HTTP 404: There is no")


@kinds
@pytest.mark.parametrize(
    ("fault", "outcome", "reason"),
    [("errored", "errored", "server"), ("invalid", "errored", "bad_request"), ("expired", "expired", None)],
)
def test_outcomes(tmp_path, kind, fault, outcome, reason):
    """What became of a request is told apart: errors that may pass, errors that do not, and what was not worked on."""
    with FakeProvider(labels=list(LABELS), batch_faults={fault: 1}) as provider:
        link = link_to(provider, kind)
        sent = file_of(link, tmp_path)

        async def steps(batches):
            return await read(batches, await batches.submit(sent))

        results = work(link, steps)
    assert {result.outcome for result in results.values()} == {outcome}
    for result in results.values():
        assert getattr(result.answer, "reason", None) == reason
        assert result.answer is None or result.answer.retryable == (fault == "errored")


@kinds
def test_results_cut_off(tmp_path, kind):
    """Results that do not come to their end are a failed call, not a few results."""
    with FakeProvider(labels=list(LABELS)) as provider:
        link = link_to(provider, kind)
        sent = file_of(link, tmp_path, count=20)

        async def steps(batches):
            remote = await batches.submit(sent)
            await batches.progress(remote)
            await asyncio.to_thread(provider.control, hold="half")
            reading = asyncio.ensure_future(read(batches, remote))
            while not (await asyncio.to_thread(provider.stats))["held"]:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.01)
            await asyncio.to_thread(provider.control, down=True)
            with pytest.raises(CallError) as error:
                await reading
            return error.value.failure

        failure = work(link, steps)
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.retryable) == ("transport", True)


@kinds
def test_errors(tmp_path, kind, monkeypatch):
    """A refused key concerns the whole link; a server that is away is a failed call."""
    with FakeProvider(labels=list(LABELS), api_key="right-key-here") as provider:
        monkeypatch.setenv("KEY", "wrong-key-here")
        link = link_to(provider, kind, api_key_env="KEY")
        sent = file_of(link, tmp_path)
        with pytest.raises(LinkError, match=r"HTTP 401.*Check the key in KEY"):
            work(link, lambda batches: batches.submit(sent))
        provider.control(down=True)
        with pytest.raises(CallError, match=r"connection.* failed"):
            work(link_to(provider, kind), lambda batches: batches.progress("x"))


@kinds
def test_key_goes_nowhere_else(tmp_path, kind, monkeypatch):
    """Results are read at the link's own address, whatever address the provider names."""
    monkeypatch.setenv("KEY", "right-key-here")
    with FakeProvider(labels=list(LABELS), api_key="right-key-here") as provider:
        link = link_to(provider, kind, api_key_env="KEY")
        sent = file_of(link, tmp_path)

        async def steps(batches):
            return await read(batches, await batches.submit(sent))

        assert len(work(link, steps)) == 3


@pytest.mark.parametrize("options", [{"mode": "fast"}, {"shard": 0}, {"poll": 0}, {"batches": 0}])
def test_wrong_options(options):
    """Wrong options of batches are refused with the key."""
    with FakeProvider() as provider, pytest.raises(TaskError, match=next(iter(options))):
        link_to(provider, "openai", **options)


@kinds
def test_limits(kind):
    """A shard may be smaller than what the provider takes, not larger."""
    with FakeProvider() as provider:
        most = {"openai": (50_000, 200_000_000), "anthropic": (100_000, 256_000_000)}[kind]
        assert link_to(provider, kind, shard=7).batches.limits.requests == 7
        limits = link_to(provider, kind, shard=10**9).batches.limits
        assert (limits.requests, limits.bytes) == most
        plain = chain_task(KINDS[kind](provider))
        assert open_link(plain.chain[0], plain).batches is None


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_lines_of_pieces(size):
    """Lines are the same however a body is cut into pieces."""
    body = b"one\n\ntwo\r\nthree\n\nfour"

    async def pieces():
        for at in range(0, len(body), size):
            yield body[at : at + size]

    async def all_lines():
        return [line.strip() async for line in lines(pieces())]

    assert asyncio.run(all_lines()) == [b"one", b"two", b"three", b"four"]
