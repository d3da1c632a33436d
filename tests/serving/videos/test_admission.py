"""The admission queue: who runs, who waits and who is refused."""

import asyncio

import pytest

from hilight_jax.serving.videos.admission import AdmissionQueue, QueueFull


def test_one_runs_one_waits_and_the_third_is_refused():
    async def three():
        queue, order, may_end = AdmissionQueue(1, 1, "for the ball"), [], asyncio.Event()

        async def first():
            order.append("first")
            await may_end.wait()

        async def later(name):
            order.append(name)
            return name

        tasks = [asyncio.create_task(queue.run(first)), asyncio.create_task(queue.run(lambda: later("second")))]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match=r"^1 requests wait already for the ball; try again in some seconds\.$"):
            await queue.run(lambda: later("third"))
        may_end.set()
        assert await asyncio.gather(*tasks) == [None, "second"]
        assert await queue.run(lambda: later("fourth")) == "fourth"
        return order

    assert asyncio.run(three()) == ["first", "second", "fourth"]


def test_a_cancelled_request_leaves_the_queue_and_work_that_has_started_keeps_its_place():
    async def leave():
        queue, order, may_end = AdmissionQueue(1, 1, "for the ball"), [], asyncio.Event()

        async def work(name):
            order.append(name)
            await may_end.wait()
            order.append(f"{name} ends")

        gone = asyncio.create_task(queue.run(lambda: work("begun")))
        left = asyncio.create_task(queue.run(lambda: work("waiting")))
        await asyncio.sleep(0.01)
        for task in (gone, left):
            task.cancel()
        await asyncio.sleep(0.01)
        assert gone.cancelled() and left.cancelled()
        after = asyncio.create_task(queue.run(lambda: work("after")))
        await asyncio.sleep(0.01)
        assert order == ["begun"]
        may_end.set()
        await after
        return order

    assert asyncio.run(leave()) == ["begun", "begun ends", "after", "after ends"]


def test_work_that_fails_frees_its_place():
    async def fail():
        queue = AdmissionQueue(1, 1, "for the ball")

        async def work():
            raise ValueError("no ball")

        for _ in range(3):
            with pytest.raises(ValueError, match="no ball"):
                await queue.run(work)

    asyncio.run(fail())
