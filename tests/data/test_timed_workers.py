import multiprocessing
import os
import time

import pytest

from hilight_jax.core.errors import UserError
from hilight_jax.data.timed_workers import Outcome, Part, map_timed, stream_timed


def work(item):
    if item == "hang":
        time.sleep(60)
    if item == "crash":
        os._exit(1)
    return item.upper()


def test_items_that_hang_or_crash_fail_alone():
    outcomes = {o.item: o for o in map_timed(work, ["a", "hang", "b", "crash", "c"], num_workers=2, time_limit=0.5)}
    assert {item: o.result for item, o in outcomes.items() if not o.failure} == {"a": "A", "b": "B", "c": "C"}
    assert outcomes["hang"].failure == "it was not read within 0.5 seconds"
    assert outcomes["crash"].failure == "the process that read it crashed"


def test_a_worker_that_died_while_it_had_nothing_to_do_is_replaced():
    outcomes = map_timed(work, ["a", "b", "c"], num_workers=1, time_limit=10)
    assert next(outcomes).result == "A"
    (process,) = multiprocessing.active_children()
    process.kill()
    process.join()
    assert [outcome.result for outcome in outcomes] == ["B", "C"]


def work_in_parts(item, send):
    for letter in item:
        send(letter)
        if letter == "!":
            os._exit(1)
        if letter == "?":
            time.sleep(60)
    return len(item)


def test_parts_come_as_they_are_sent_and_a_limit_is_for_each():
    events = list(stream_timed(work_in_parts, ["ab", "c!d", "e?f"], num_workers=2, time_limit=1.0))
    parts = {item: [e.value for e in events if isinstance(e, Part) and e.item == item] for item in ("ab", "c!d", "e?f")}
    assert parts == {"ab": ["a", "b"], "c!d": ["c", "!"], "e?f": ["e", "?"]}
    outcomes = {e.item: e for e in events if isinstance(e, Outcome)}
    assert outcomes["ab"] == Outcome("ab", 2) and outcomes["c!d"].failure == "the process that read it crashed"
    assert outcomes["e?f"].failure == "it was not read within 1 seconds"


@pytest.mark.parametrize("num_workers", [0, -1])
def test_no_worker_at_all_is_refused(num_workers):
    with pytest.raises(UserError, match=f"at least 1 worker process, not {num_workers}"):
        list(map_timed(work, ["a"], num_workers, time_limit=1))
