import multiprocessing
import os
import time

import pytest

from hilight_jax.core.errors import UserError
from hilight_jax.data.timed_workers import map_timed


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


@pytest.mark.parametrize("num_workers", [0, -1])
def test_no_worker_at_all_is_refused(num_workers):
    with pytest.raises(UserError, match=f"at least 1 worker process, not {num_workers}"):
        list(map_timed(work, ["a"], num_workers, time_limit=1))
