"""What was spent on what over several starts: what is done again is lost, the time between is down."""

import json

import pytest

from hilight_jax.training.long_runs.goodput import Clock, Goodput, Pace, spell


class Hands:
    """A clock that a test moves."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def spend(clock, hands, **seconds):
    for name, value in seconds.items():
        with clock.activity(name):
            hands.time += value


def begin(directory, hands, step, said=None):
    clock = Clock(hands)
    tell = (lambda line: None) if said is None else said.append
    return clock, Goodput(directory, step, clock, tell, now=lambda: hands.time + 5000)


def read(directory):
    record = json.loads((directory / "goodput.json").read_text())
    assert sum(record["seconds"].values()) == pytest.approx(record["total_seconds"])
    return {name: value for name, value in record["seconds"].items() if value}, record


def test_lost_and_down_are_known_when_the_run_goes_on(tmp_path):
    hands, said = Hands(), []
    clock, goodput = begin(tmp_path, hands, 0)
    with goodput:
        spend(clock, hands, compile=5, data=1, step=10)
        goodput.saved(10)
        spend(clock, hands, data=2, step=7)
        goodput.saved(15)
        spend(clock, hands, step=4)
    assert read(tmp_path)[0] == {"compile": 5, "data": 3, "step": 21}
    hands.time += 60
    # The checkpoint of step 15 was damaged: the run goes on from step 10.
    clock, goodput = begin(tmp_path, hands, 10, said)
    with goodput:
        spend(clock, hands, start=1, compile=5, step=11)
    seconds, record = read(tmp_path)
    assert seconds == {"start": 1, "compile": 10, "data": 1, "step": 21, "lost": 13, "down": 60}
    assert record["starts"] == 2
    assert record["goodput"] == pytest.approx(21 / 106)
    assert said == ["goodput 19.8% of 1 min 46 s: down 56.6%, lost 12.3%, compile 9.4%, start 0.9%, data 0.9%"]


def test_a_start_before_any_checkpoint_loses_all_steps(tmp_path):
    hands = Hands()
    clock, goodput = begin(tmp_path, hands, 0)
    with goodput:
        spend(clock, hands, compile=5, step=10)
    with begin(tmp_path, hands, 0)[1]:
        pass
    assert read(tmp_path)[0] == {"compile": 5, "lost": 10}


@pytest.mark.parametrize("text", ["{", "[]", '{"seconds": [], "until": 1.0, "checkpoints": []}'])
def test_a_file_that_is_no_record_is_begun_anew(tmp_path, text):
    (tmp_path / "goodput.json").write_text(text)
    with begin(tmp_path, Hands(), 3)[1]:
        pass
    assert read(tmp_path)[1]["starts"] == 1


@pytest.mark.parametrize(("seconds", "text"), [(7.25, "7.2 s"), (125, "2 min 5 s"), (7800, "2 h 10 min")])
def test_time_is_spelled(seconds, text):
    assert spell(seconds) == text


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
