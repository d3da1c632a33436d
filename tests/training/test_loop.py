"""The loop on a toy: asked to stop it saves and goes on bitwise; it skips what is no number, and times itself."""

import json
import os
import re
import signal
import time

import jax
import pytest

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import CheckpointError, Interrupted, TrainingError
from hilight_jax.training.metrics import read_metrics
from tests.training.toy_run import ToyTrainer, train


def asks_at(step):
    """A watcher of batches that sends SIGTERM while the batch of ``step`` is on its way."""
    seen = []

    def watch(batch):
        seen.append(batch)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


def losses(workdir):
    return [(record["step"], record["loss"]) for record in read_metrics(workdir) if "loss" in record]


def test_sigterm_saves_and_the_same_command_goes_on_bitwise(tmp_path):
    whole = train(tmp_path / "whole", ToyTrainer())
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="step 4 is saved. Start the same command again: it resumes"):
        train(tmp_path / "cut", ToyTrainer(), check_batch=asks_at(4))
    assert signal.getsignal(signal.SIGTERM) is former
    assert Store(tmp_path / "cut" / "checkpoints", read_only=True).latest() == 4
    gone_on = train(tmp_path / "cut", ToyTrainer())
    assert gone_on.trained["w"] == whole.trained["w"]
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_sigterm_at_the_last_step_finishes_the_run(tmp_path):
    assert int(train(tmp_path, ToyTrainer(), check_batch=asks_at(8)).step) == 8


def test_skipped_steps_change_nothing_are_recorded_and_counted_over_restarts(tmp_path):
    said = []
    trainer = ToyTrainer(max_skipped_steps=2)
    with pytest.raises(Interrupted):
        train(tmp_path, trainer, bad=(2,), log=said.append, check_batch=asks_at(4))
    assert said[0] == "step 2 was skipped (1 of at most 2): gradient_norm is nan, line is nan, loss is nan"
    records = {record["step"]: record for record in read_metrics(tmp_path)}
    assert records[2]["skipped"] == 1.0 and "loss" not in records[2]
    assert records[3]["skipped"] == 0.0 and records[3]["loss"] is not None
    with pytest.raises(TrainingError, match="step 7: .*config.max_skipped_steps=2 steps were skipped already"):
        train(tmp_path, trainer, bad=(5, 7))
    assert Store(tmp_path / "checkpoints", read_only=True).latest() == 6


def test_no_step_is_skipped_unless_asked(tmp_path):
    with pytest.raises(TrainingError, match="step 2: .*loss is nan.*the last good checkpoint is kept"):
        train(tmp_path, ToyTrainer(), bad=(2,))


def test_the_time_adds_up_over_restarts_and_steps_done_again_are_lost(tmp_path):
    said, seen, began = [], [], time.time()

    def breaks(batch):
        seen.append(batch)
        time.sleep(0.02)
        if len(seen) == 6:
            raise TrainingError("stop")

    with pytest.raises(TrainingError, match="stop"):
        train(tmp_path, ToyTrainer(), check_batch=breaks)
    first = json.loads((tmp_path / "goodput.json").read_text())
    time.sleep(0.1)
    train(tmp_path, ToyTrainer(), log=said.append)
    record = json.loads((tmp_path / "goodput.json").read_text())
    seconds = record["seconds"]
    assert sum(seconds.values()) == pytest.approx(record["total_seconds"], abs=1e-9)
    # The clock of a start begins a little before its loop: what is not counted is opening the store the first time.
    assert 0 <= time.time() - began - record["total_seconds"] < 0.5
    assert record["starts"] == 2
    assert seconds["down"] >= 0.1
    assert seconds["compile"] > first["seconds"]["compile"] > 0
    assert seconds["other"] > 0.1
    # Steps 4 and 5 came after the checkpoint of step 3.
    kept = first["checkpoints"][-1]
    assert kept["saved"] == 3
    assert seconds["lost"] == pytest.approx(
        sum(first["seconds"][name] - kept[name] for name in ("step", "data", "evaluation"))
    )
    assert re.fullmatch(r"goodput \d+\.\d% of \d+\.\d s: .*compile \d+\.\d%.*", said[-1])


def test_a_trace_of_the_asked_steps_is_written(tmp_path):
    train(tmp_path, ToyTrainer(profile="3:4"))
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_an_interrupted_trace_is_ended(tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, ToyTrainer(profile="3:8"), check_batch=asks_at(4))
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    train(tmp_path, ToyTrainer(profile="3:8"))


def test_a_stall_is_reported_with_what_the_run_waits_for(tmp_path, caplog):
    def evaluate(params, step):
        time.sleep(0.5)
        return {}

    train(tmp_path, ToyTrainer(stall_seconds=0.2), evaluate=evaluate)
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("loop")]
    assert any("since step 8: the run is evaluating" in line for line in lines)
    assert "test_loop.py" in (tmp_path / "stalls.txt").read_text()


def halve_arrays(step):
    for path in (step / "heads" / "d").iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_arrays(step):
    for path in (step / "heads" / "d").iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:100] + bytes(5) + data[105:])


@pytest.mark.parametrize("harm", [halve_arrays, flip_arrays])
def test_a_damaged_newest_checkpoint_falls_back_and_the_run_ends_the_same(harm, tmp_path, capsys):
    whole = train(tmp_path / "whole", ToyTrainer())
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", ToyTrainer(), check_batch=asks_at(7))
    checkpoints = tmp_path / "cut" / "checkpoints"
    harm(checkpoints / "7")
    gone_on = train(tmp_path / "cut", ToyTrainer())
    assert "resuming at step 6" in capsys.readouterr().err
    assert gone_on.trained["w"] == whole.trained["w"]
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert (tmp_path / "cut" / "broken_checkpoints" / "7").is_dir()


def test_where_no_checkpoint_can_be_read_the_run_does_not_begin_anew(tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, ToyTrainer(), check_batch=asks_at(5))
    for step in (3, 5):
        flip_arrays(tmp_path / "checkpoints" / str(step))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="no checkpoint in .* can be read"):
            train(tmp_path, ToyTrainer())


def test_a_step_that_would_copy_from_the_host_without_being_asked_is_refused(tmp_path):
    class OnTheHost(ToyTrainer):
        def put_batch(self, batch):
            return batch

    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        train(tmp_path, OnTheHost())
