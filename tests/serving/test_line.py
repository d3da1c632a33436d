"""A line of limited length."""

import asyncio
import contextlib

import pytest

from hilight_jax.serving.line import Busy, Line


def test_one_works_one_waits_and_the_third_is_sent_away():
    async def three():
        line, order = Line(1, 1, "for the ball"), []
        first_may_end = asyncio.Event()

        async def first():
            async with line.turn():
                order.append("first")
                await first_may_end.wait()

        async def second():
            async with line.turn():
                order.append("second")

        tasks = [asyncio.create_task(work()) for work in (first, second)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match=r"^1 requests wait already for the ball; try again in some seconds\.$"):
            async with line.turn():
                order.append("third")
        first_may_end.set()
        await asyncio.gather(*tasks)
        async with line.turn():
            order.append("later")
        return order

    assert asyncio.run(three()) == ["first", "second", "later"]


def test_who_leaves_the_line_or_fails_in_his_turn_holds_nobody_up():
    async def leave():
        line = Line(1, 1, "for the ball")

        async def work():
            async with line.turn():
                pass

        with contextlib.suppress(ValueError):
            async with line.turn():
                waiting = asyncio.create_task(work())
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.sleep(0)
                assert waiting.cancelled()
                next_one = asyncio.create_task(work())
                await asyncio.sleep(0)
                raise ValueError
        await next_one

    asyncio.run(leave())
