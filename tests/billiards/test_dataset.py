import dataclasses
import fcntl
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import av
import numpy as np
import pytest
import tensorflow_datasets as tfds

from hilight_jax.billiards import dataset, shards
from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.worlds import DEMO
from hilight_jax.core.errors import DataError

SIZES = {"train": 10, "validation": 3, "unseen": 2}


def contents(directory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return dataset.build(DEMO, tmp_path_factory.mktemp("data"), SIZES, workers=1, clips_per_shard=4)


def test_a_dataset_is_read_by_tfds_and_holds_the_clips(built):
    builder = tfds.builder_from_directory(built.directory)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == SIZES
    for number, example in enumerate(builder.as_data_source("validation")):
        clip = make_clip(DEMO, "validation", number)
        assert json.loads(example["labels"]) == clip.labels
        with av.open(io.BytesIO(example["video"])) as container:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        assert frames.shape == clip.frames.shape
        assert np.abs(frames.astype(int) - clip.frames).mean() < 4


def test_world_json_says_what_was_built(built):
    metadata = dataset.read_metadata(built.directory)
    assert metadata["name"] == "demo-v1" and metadata["version"] == "1.0.0" and metadata["seed"] == DEMO.seed
    assert metadata["sizes"] == SIZES and metadata["world"]["width"] == 64
    assert built.clips_made == 15 and built.directory.parts[-2:] == ("demo-v1", "1.0.0")


def test_the_bytes_do_not_depend_on_the_number_of_workers(built, tmp_path):
    again = dataset.build(DEMO, tmp_path, SIZES, workers=2, clips_per_shard=4)
    assert contents(again.directory) == contents(built.directory)


def test_an_interrupted_build_leaves_no_dataset_and_is_gone_on_with(built, tmp_path, monkeypatch):
    made = []

    def make_until_the_power_fails(world, split, number, attempt=0):
        made.append(number)
        if len(made) == 7:
            raise KeyboardInterrupt
        return shards.encode_clip(make_clip(world, split, number, attempt))

    monkeypatch.setattr(shards, "_make", make_until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        dataset.build(DEMO, tmp_path, SIZES, clips_per_shard=4)
    assert dataset.read_metadata(dataset.dataset_dir(tmp_path, DEMO)) is None
    assert not dataset.dataset_dir(tmp_path, DEMO).exists()
    again = dataset.build(DEMO, tmp_path, SIZES, clips_per_shard=4)
    assert again.clips_made == 15 - 4, "the finished shard of four clips is kept"
    assert contents(again.directory) == contents(built.directory)


def test_a_build_of_another_plan_starts_anew(tmp_path):
    partial = tmp_path / "demo-v1" / ".1.0.0.incomplete"
    partial.mkdir(parents=True)
    (partial / "plan.json").write_text("{}")
    (partial / "demo_v1-train.array_record-00000-of-00001").write_bytes(b"of another plan")
    built = dataset.build(DEMO, tmp_path, {"train": 1, "validation": 0, "unseen": 0})
    assert built.clips_made == 1 and len(tfds.builder_from_directory(built.directory).as_data_source("train")) == 1


def test_shards_of_an_older_generator_are_not_mixed_in(tmp_path, monkeypatch):
    def make_until_the_power_fails(world, split, number, attempt=0):
        if number == 2:
            raise KeyboardInterrupt
        return shards.encode_clip(make_clip(world, split, number, attempt))

    sizes = {"train": 3, "validation": 0, "unseen": 0}
    with monkeypatch.context() as patch:
        patch.setattr(shards, "_make", make_until_the_power_fails)
        patch.setattr(dataset, "generator_digest", lambda: "of an earlier day")
        with pytest.raises(KeyboardInterrupt):
            dataset.build(DEMO, tmp_path, sizes, clips_per_shard=1)
    assert dataset.build(DEMO, tmp_path, sizes, clips_per_shard=1).clips_made == 3
    assert dataset.read_metadata(dataset.dataset_dir(tmp_path, DEMO))["generator"] == dataset.generator_digest()


def test_the_state_of_the_generator_covers_every_source_file(tmp_path, monkeypatch):
    copy = shutil.copytree(pathlib.Path(dataset.__file__).parent, tmp_path / "billiards")
    monkeypatch.setattr(dataset, "__file__", str(copy / "dataset.py"))
    state = dataset.generator_digest.__wrapped__
    assert state() == dataset.generator_digest()
    for path in (copy / "worlds.py", *(copy / room / "__init__.py" for room in ("physics", "rendering", "language"))):
        before = state()
        path.write_text(path.read_text() + "\n")
        assert state() != before


def test_a_worker_that_is_killed_is_told_in_a_sentence():
    with shards.Workshop(2) as workshop, pytest.raises(DataError, match="a worker process was killed"):
        list(workshop._records(_die, range(2)))


def _die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_full_disk_is_told_in_a_sentence(tmp_path, monkeypatch):
    write = shards._write_shard
    monkeypatch.setattr(shards, "_write_shard", lambda path, examples: write(pathlib.Path("/dev/full"), examples))
    with pytest.raises(DataError, match="writing to .*demo-v1/1.0.0 failed: .*No space left on device.* --data_dir"):
        dataset.build(DEMO, tmp_path, {"train": 1, "validation": 0, "unseen": 0})


def test_a_complete_dataset_is_left_alone(built):
    before = contents(built.directory)
    again = dataset.build(DEMO, built.directory.parents[1], SIZES, clips_per_shard=4)
    assert again.clips_made == 0 and contents(built.directory) == before


def test_other_sizes_in_the_way_are_refused(built):
    with pytest.raises(DataError, match="holds 10 train [+] 3 validation [+] 2 unseen, not 11 train"):
        dataset.build(DEMO, built.directory.parents[1], SIZES | {"train": 11})


def test_another_definition_of_the_world_is_refused(built):
    with pytest.raises(DataError, match="another definition of 'demo-v1'"):
        dataset.build(dataclasses.replace(DEMO, seed=1), built.directory.parents[1], SIZES)


def test_a_setting_newer_than_the_dataset_counts_as_its_default(built, tmp_path):
    directory = shutil.copytree(built.directory, tmp_path / "demo-v1" / "1.0.0")
    metadata = json.loads((directory / "world.json").read_text())
    del metadata["world"]["people"]
    (directory / "world.json").write_text(json.dumps(metadata))
    assert dataset.build(DEMO, tmp_path, SIZES).clips_made == 0
    with pytest.raises(DataError, match="another definition of 'demo-v1'"):
        dataset.build(dataclasses.replace(DEMO, people=0.5), tmp_path, SIZES)


def test_two_builds_of_one_dataset_exclude_each_other(tmp_path):
    (tmp_path / "demo-v1").mkdir()
    with (tmp_path / "demo-v1" / ".1.0.0.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is building"):
            dataset.build(DEMO, tmp_path, SIZES)


def test_held_out_clips_never_tell_the_same(monkeypatch):
    records = {number: shards.Record(b"", b"", facts) for number, facts in enumerate("aab")}

    def make(world, split, number, attempt):
        return shards.Record(b"", str(attempt).encode(), "abc"[min(attempt, 2)])

    monkeypatch.setattr(shards, "_make", make)
    told = list(shards._telling_new_things(DEMO, "validation", records.items()))
    assert [(record.facts, record.labels) for record in told] == [("a", b""), ("b", b"1"), ("c", b"2")]


def test_a_world_with_nothing_new_to_tell_says_so(monkeypatch):
    same = shards.Record(b"", b"", "always the same")
    monkeypatch.setattr(shards, "_make", lambda *_: same)
    with pytest.raises(DataError, match="nothing new to tell after 1 clips of 'unseen'"):
        list(shards._telling_new_things(DEMO, "unseen", [(0, same), (1, same)]))


def test_an_unknown_split_is_refused():
    with pytest.raises(DataError, match="split 'test=5' cannot be built; give train, validation, unseen"):
        dataset.split_sizes(DEMO, {"test": 5})


def test_writing_and_reading_import_no_tensorflow(built):
    code = (
        "import sys, tensorflow_datasets as tfds\n"
        "from hilight_jax.billiards import dataset\n"
        f"source = tfds.builder_from_directory({str(built.directory)!r}).as_data_source('train')\n"
        "assert len(source) == 10 and source[9]['video']\n"
        "assert not {'tensorflow', 'jax'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
