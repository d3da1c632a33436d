"""A run that loses a process, is stopped, and goes on with other numbers of processes ends like one left alone."""

import signal

import pytest

from hilight_jax.checkpoints.store import Store
from tests.multi_process.job import encoder, job, losses, records, succeed, wait_for_step

pytestmark = pytest.mark.slow


def latest(workdir):
    return Store(workdir / "checkpoints", read_only=True).latest()


def evaluations(workdir):
    return [record for record in records(workdir) if "validation/text_to_video_r1" in record]


def test_two_processes_are_killed_four_stopped_and_two_others_end_with_the_losses_of_one(data_dir, tmp_path):
    whole, workdir = tmp_path / "whole", tmp_path / "run"
    succeed(encoder(whole, data_dir), 1)
    arguments = encoder(workdir, data_dir)
    with job(arguments, 2) as started:
        wait_for_step(workdir, 6)
        started.send(1, signal.SIGKILL)
        codes, said = started.finish()
    assert codes[1] == -signal.SIGKILL and codes[0] not in (0, 2, 75), said
    assert 5 <= latest(workdir) < 40
    with job([*arguments, "--config.mesh.fsdp=2"], 4) as started:
        wait_for_step(workdir, max(losses(workdir)) + 1)
        started.send(2, signal.SIGTERM)
        codes, said = started.finish()
    assert codes == [75] * 4, said
    assert max(losses(workdir)) == latest(workdir) < 40
    succeed([*arguments, "--config.mesh.tensor=2"], 2)
    assert latest(workdir) == 40
    assert losses(workdir) == pytest.approx(losses(whole), abs=1e-5)
    for ours, theirs in zip(evaluations(workdir), evaluations(whole), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
