"""Rows and questions reach their takers in order, each once, and waiting ends when it is closed."""

import asyncio

from catena.engine.inbox import Inbox, Queue


def test_inbox_first_then_forwarded():
    """An inbox that starts with rows gives them in blocks and then says that it is empty."""

    async def work():
        inbox = Inbox(range(5))
        return [await inbox.take(3), await inbox.take(3), await inbox.take(3)]

    assert asyncio.run(work()) == [[0, 1, 2], [3, 4], []]


def test_inbox_waits():
    """A taker waits for a row, gets it at once, and none after the end."""

    async def work():
        inbox = Inbox()
        taken = asyncio.ensure_future(inbox.take(9))
        await asyncio.sleep(0)
        assert not taken.done()
        inbox.put(7)
        first = await taken
        taken = asyncio.ensure_future(inbox.take(9))
        await asyncio.sleep(0)
        inbox.close()
        return first, await taken

    assert asyncio.run(work()) == ([7], [])


def test_queue_gives_each_thing_once():
    """Many takers get every thing exactly once, in batches of at most the size asked for, and all end."""

    async def work():
        queue, taken = Queue(4), []

        async def taker():
            while things := await queue.take(3):
                assert len(things) <= 3
                taken.extend(things)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(taker())
            for thing in range(100):
                await queue.put(thing)
            queue.close()
        return taken

    assert sorted(asyncio.run(work())) == list(range(100))


def test_queue_is_bounded():
    """Putting waits while it is full."""

    async def work():
        queue = Queue(2)
        await queue.put(1)
        await queue.put(2)
        third = asyncio.ensure_future(queue.put(3))
        await asyncio.sleep(0)
        assert not third.done()
        assert await queue.take(1) == [1]
        await third
        return await queue.take(9)

    assert asyncio.run(work()) == [2, 3]


def test_queue_drop():
    """Closed with drop, it forgets what waits."""

    async def work():
        queue = Queue(9)
        await queue.put(1)
        queue.close(drop=True)
        return await queue.take(1)

    assert asyncio.run(work()) == []
