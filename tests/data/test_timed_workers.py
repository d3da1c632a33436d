import os
import time

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
