"""A stall is told once, again at doubling ages, and so is its end."""

from hilight_jax.training.long_runs.watchdog import Watchdog
from tests.training.long_runs.test_goodput import Hands


def test_a_stall_is_told_at_doubling_ages_and_when_it_ends(tmp_path):
    hands, said = Hands(), []
    dog = Watchdog(10, lambda: "data", said.append, tmp_path / "stalls.txt", now=hands)
    dog.finished(4)
    told_at = []
    for second in range(1, 46):
        hands.time += 1
        dog.look()
        if len(said) > len(told_at):
            told_at.append(second)
    assert told_at == [10, 20, 40]
    assert said[0] == (
        f"no step has finished for 10 s since step 4: the run is waiting for data; {tmp_path / 'stalls.txt'} holds "
        "the stack of each thread."
    )
    stacks = (tmp_path / "stalls.txt").read_text()
    assert stacks.count("the run is waiting for data") == 3
    assert "test_watchdog.py" in stacks
    dog.finished(5)
    assert said[3] == "step 5 is done after 45 s; the run goes on."
    hands.time += 9
    dog.look()
    dog.finished(6)
    assert len(said) == 4


def test_one_late_look_tells_one_stall():
    hands, said = Hands(), []
    dog = Watchdog(10, lambda: "step", said.append, now=hands)
    hands.time += 1000
    dog.look()
    dog.look()
    assert said == [
        "no step has finished for 1000 s since the start: the run is waiting for the devices to finish a step."
    ]
