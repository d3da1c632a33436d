"""Every moment of a run counts as exactly one activity."""

import pytest

from hilight_jax.training.long_runs.clock import Clock, Pace


class Hands:
    """A clock that a test moves."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_the_innermost_activity_counts_and_the_parts_add_up():
    hands = Hands()
    clock = Clock(hands)
    hands.time += 1
    clock.begin_loop()
    hands.time += 2
    with clock.activity("step"):
        hands.time += 4
        with clock.activity("compile"):
            assert clock.current == "compile"
            hands.time += 8
        hands.time += 16
    assert clock.current == "other"
    hands.time += 32
    assert {name: value for name, value in clock.seconds().items() if value} == {
        "start": 1,
        "other": 34,
        "step": 20,
        "compile": 8,
    }
    assert sum(clock.seconds().values()) == 63


def test_an_activity_ends_with_an_error():
    clock = Clock(Hands())
    with pytest.raises(ZeroDivisionError), clock.activity("step"):
        _ = 1 / 0
    assert clock.current == "start"


def test_the_pace_leaves_out_evaluations_and_checkpoints():
    hands = Hands()
    clock = Clock(hands)
    pace = Pace(clock, 10, batch_size=6)
    for name, seconds in (("data", 1), ("step", 3), ("evaluation", 50), ("checkpoint", 50)):
        with clock.activity(name):
            hands.time += seconds
    assert pace.figures(12) == {"seconds_per_step": 2.0, "data_wait_share": 0.25, "examples_per_second": 3.0}
