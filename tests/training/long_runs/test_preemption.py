"""A notice of maintenance stops a run like SIGTERM, unless it was there before the run."""

import os
import signal
import time

from hilight_jax.training.long_runs.preemption import MaintenanceWatch, Preemption


def watch_of(*answers, **options):
    left = list(answers)

    def ask(place):
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is None:
            raise OSError
        return answer

    return MaintenanceWatch(ask, {"event": "NONE"}, **options)


def test_a_notice_that_appears_is_noticed_once():
    watch = watch_of("NONE", None, "TERMINATE_ON_HOST_MAINTENANCE")
    assert [watch.look() for _ in range(4)] == [False, False, True, False]


def test_a_notice_that_was_there_before_the_run_is_not_heeded():
    watch = watch_of("TERMINATE_ON_HOST_MAINTENANCE", "TERMINATE_ON_HOST_MAINTENANCE", "NONE", "TERMINATE")
    assert [watch.look() for _ in range(4)] == [False, False, False, True]


def test_a_machine_without_metadata_is_left_alone():
    watch = watch_of(None)
    assert not any(watch.look() for _ in range(3))


def test_a_notice_asks_the_run_to_stop():
    with Preemption() as preemption, watch_of("NONE", "TERMINATE", seconds=0.01):
        deadline = time.monotonic() + 5
        while not preemption.requested(1) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert preemption.requested(1)


def test_sigterm_is_a_request_only_while_the_run_listens():
    former = signal.getsignal(signal.SIGTERM)
    with Preemption() as preemption:
        assert not preemption.requested(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.requested(2)
    assert signal.getsignal(signal.SIGTERM) is former
