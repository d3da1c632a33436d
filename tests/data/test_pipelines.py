import itertools
import json
import pickle

import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.data.bad_clips import BadClips, UnusableClip, read_quarantine, write_quarantine
from hilight_jax.data.clips import ClipLoader
from hilight_jax.data.config import DataConfig
from hilight_jax.data.pipelines import LengthGroups, Pipeline
from hilight_jax.data.records import Caption, FrameCaption, Record, Span, object_id
from hilight_jax.data.sources import open_source
from tests.data.clips import encode, grey_frames, write_manifest

SMALL = {"num_frames": 2, "image_size": 16, "text_length": 12}
NUM_CLIPS = 10


class Records(list):
    """A source in memory."""

    name = "records"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_manifest(tmp_path_factory.mktemp("clips"), NUM_CLIPS)


def pipeline_of(config, source, seed=0):
    return Pipeline(config, source, ClipLoader(config, source, seed), seed)


def batches(manifest, count, config=None, seed=0, **where):
    pipeline = pipeline_of(DataConfig(**{**SMALL, **(config or {})}), open_source(manifest), seed)
    with pipeline.batches(4, **where) as iterator:
        return list(itertools.islice(iterator, count))


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def bad_clips(source, **limits):
    return BadClips(source.name, lambda index: source[index].id, **limits)


def test_a_batch_holds_what_the_contract_says(manifest):
    (batch,) = batches(manifest, 1)
    shapes = {name: (x.dtype.name, x.shape) for name, x in batch.items()}
    assert shapes == {
        "video": ("uint8", (4, 2, 16, 16, 3)),
        "text_ids": ("int32", (4, 12)),
        "text_mask": ("bool", (4, 12)),
        "local_mask": ("bool", (4, 12)),
        "token_object": ("int32", (4, 12)),
        "clip_objects": ("int32", (4, 32)),
        "index": ("int64", (4,)),
        "valid": ("bool", (4,)),
        "replaced": ("bool", (4,)),
        "truncated": ("bool", (4,)),
    }
    levels = batch["video"][:, 0, 0, 0, 0].astype(int)
    np.testing.assert_allclose(levels, 10 * batch["index"], atol=1)
    assert batch["valid"].all() and not batch["replaced"].any() and not batch["truncated"].any()


def test_every_epoch_holds_every_clip_once_in_a_new_order(manifest):
    order = np.concatenate([batch["index"] for batch in batches(manifest, 5)])
    first, second = order[:NUM_CLIPS], order[NUM_CLIPS:]
    assert sorted(first) == sorted(second) == list(range(NUM_CLIPS))
    assert first.tolist() != second.tolist()
    other_seed = np.concatenate([batch["index"] for batch in batches(manifest, 5, seed=1)])
    assert order.tolist() != other_seed.tolist()


def test_hosts_hold_the_same_global_batches_however_many_there_are(manifest):
    whole = batches(manifest, 4)
    for hosts in (2, 4):
        parts = [batches(manifest, 4, rows=rows) for rows in np.split(np.arange(4), hosts)]
        for step in range(4):
            assert_same(joined([part[step] for part in parts]), whole[step])


def test_a_restart_goes_on_where_the_run_stopped(manifest):
    whole = batches(manifest, 6, config={"sampling": "jittered"})
    for start in (1, 4):
        resumed = batches(manifest, 6 - start, config={"sampling": "jittered"}, start_step=start)
        for before, after in zip(whole[start:], resumed, strict=True):
            assert_same(before, after)


def test_the_state_is_the_step(manifest):
    with pipeline_of(DataConfig(**SMALL), open_source(manifest)).batches(4, start_step=7) as iterator:
        next(iterator)
        assert iterator.step == 8


def test_workers_and_threads_do_not_change_the_batches(manifest):
    config = {"sampling": "jittered"}
    alone = batches(manifest, 5, config | {"num_threads": 1, "read_ahead": 1})
    for others in ({"num_workers": 2}, {"num_threads": 3, "read_ahead": 4}):
        for one, other in zip(alone, batches(manifest, 5, config | others), strict=True):
            assert_same(one, other)


def test_captions_change_between_epochs(manifest):
    starts = [tuple(batch["text_ids"][:, 1]) for batch in batches(manifest, 20)]
    assert len(set(itertools.chain(*starts))) == 2  # "clip number ..." and "the other text ...".


def test_a_bad_clip_is_replaced_by_a_rule_of_seed_and_index(tmp_path):
    manifest = write_manifest(tmp_path, NUM_CLIPS)
    (tmp_path / "3.mp4").write_bytes(b"")
    for seed in (0, 1):
        rows = joined(batches(manifest, 10, seed=seed))
        assert rows["index"][rows["replaced"]].tolist() == [3] * 4  # Once in each of the four epochs.
        stand_in = int(np.random.default_rng((seed, 3)).integers(NUM_CLIPS, size=16)[0])
        levels = rows["video"][rows["replaced"]][:, 0, 0, 0, 0].astype(int)
        np.testing.assert_allclose(levels, 10 * stand_in, atol=1)
        assert rows["valid"].all()


def test_a_quarantined_clip_is_never_seen_nor_counted(tmp_path):
    manifest = write_manifest(tmp_path, NUM_CLIPS)
    (tmp_path / "list.jsonl").write_text(
        json.dumps({"id": "3.mp4", "reason": "blurred"})
        + "\n"
        + json.dumps({"id": "5.mp4", "reason": "blurred", "source": "manifest:elsewhere/clips.jsonl"})
    )
    config = {"quarantine": str(tmp_path / "list.jsonl")}
    rows = joined(batches(manifest, 10, config))
    assert 3 not in rows["index"] and not rows["replaced"].any()
    np.testing.assert_allclose(rows["video"][:, 0, 0, 0, 0].astype(int), 10 * rows["index"], atol=1)
    pipeline = pipeline_of(DataConfig(**SMALL, **config), open_source(manifest))
    evaluated = joined(list(pipeline.eval_batches(4)))
    assert evaluated["index"][~evaluated["valid"]].tolist() == [3, -1, -1]


def test_too_many_bad_clips_stop_the_run_and_are_named(tmp_path):
    manifest = write_manifest(tmp_path, NUM_CLIPS)
    for i in (3, 5):
        (tmp_path / f"{i}.mp4").write_bytes(b"")
    counter = bad_clips(open_source(manifest), max_fraction=0.1, patience=8)
    with pytest.raises(DataError, match=r"of .*clips.jsonl could not be used .*allows 10%\), among them \d.mp4"):
        for batch in batches(manifest, 10):
            counter.update(batch)
    counter = bad_clips(open_source(manifest), max_fraction=0.5, patience=8)
    for batch in batches(manifest, 10):
        counter.update(batch)
    assert counter.count == 8 and counter.seen == 40


def test_bad_clips_of_all_hosts_are_added_up_and_judged_alike(manifest):
    source = open_source(manifest)
    there = np.array([8, 2, 1, 3, 5, -1, -1, -1])  # Seen, replaced, truncated, and the numbers of those replaced.
    asked = []

    def gather(here):
        asked.append(here.tolist())
        return np.stack([here, there])

    counter = bad_clips(source, max_fraction=0.1, patience=8, gather=gather)
    counted = np.array([True, True, False, False])  # The other rows are counted by another host.
    with pytest.raises(DataError, match=r"2 of 12 clips .* among them 3.mp4, 5.mp4"):
        for batch in batches(manifest, 4):
            counter.update(batch, counted)
    assert asked == [[4, 0, 0, -1, -1, -1, -1, -1]]
    patient = bad_clips(source, max_fraction=0.5, patience=8, gather=gather)
    for batch in batches(manifest, 8):
        patient.update(batch, counted)
    assert [counts[0] for counts in asked] == [4, 4, 8, 16]
    assert (patient.seen, patient.count, patient.truncated) == (24, 2, 1)


def test_the_end_of_a_short_run_is_judged_too_and_cut_captions_are_counted(tmp_path):
    manifest = write_manifest(tmp_path, 4, texts=["ball " * 30])
    (tmp_path / "1.mp4").write_bytes(b"")
    counter = bad_clips(open_source(manifest), max_fraction=0.1)
    for batch in batches(manifest, 2):
        counter.update(batch)
    assert (counter.count, counter.truncated, counter.seen) == (2, 8, 8)
    with pytest.raises(DataError, match=r"2 of 8 clips of .*clips.jsonl could not be used .* 1.mp4"):
        counter.finish()
    bad_clips(open_source(manifest), max_fraction=0.0).finish()


def test_a_quarantine_list_is_read_as_it_was_written(tmp_path):
    path, ids = str(tmp_path / "list.jsonl"), ["a\u2028b.mp4", "caf\xe9\x85.mp4", "latin-1 \udce9.mp4"]
    written = [UnusableClip(f"manifest:{tmp_path}/m.jsonl", clip_id, "line\nbreak") for clip_id in ids]
    write_quarantine(path, [*written, UnusableClip("manifest:other.jsonl", "c.mp4", "empty")])
    assert read_quarantine(path, f"manifest:{tmp_path}/sub/../m.jsonl") == set(ids)
    assert read_quarantine(path, f"clip_vip:{tmp_path}/m.jsonl,videos=there") == set(ids)
    assert read_quarantine(path, "other.jsonl") == {"c.mp4"}


def test_a_source_without_a_usable_clip_ends_in_a_sentence(tmp_path):
    manifest = write_manifest(tmp_path, 2)
    for i in range(2):
        (tmp_path / f"{i}.mp4").unlink()
    with pytest.raises(DataError, match=r"none of 17 clips can be used \(the last because the file does not exist"):
        batches(manifest, 1)


def test_evaluation_sees_every_clip_once_and_pads_the_last_batch(manifest):
    pipeline = pipeline_of(DataConfig(**SMALL), open_source(manifest))
    whole = list(pipeline.eval_batches(4))
    rows = joined(whole)
    assert len(whole) == 3
    assert rows["index"].tolist() == [*range(10), -1, -1] and rows["valid"].tolist() == [True] * 10 + [False] * 2
    assert rows["text_mask"][-1].sum() == 2 and not rows["video"][-1].any()
    halves = np.split(np.arange(4), 2)
    for step, parts in enumerate(zip(*(list(pipeline.eval_batches(4, half)) for half in halves), strict=True)):
        assert_same(joined(parts), whole[step])


def test_evaluation_marks_bad_clips_instead_of_replacing_them(tmp_path):
    manifest = write_manifest(tmp_path, 3)
    (tmp_path / "1.mp4").write_bytes(b"")
    (batch,) = pipeline_of(DataConfig(**SMALL), open_source(manifest)).eval_batches(3)
    assert batch["index"].tolist() == [0, 1, 2] and batch["valid"].tolist() == [True, False, True]


def test_labels_give_the_objects_of_the_sampled_frames():
    labels = {
        "objects": {"ball:3": {"visible": [0, 0, 0.5]}, "ball:8": {"visible": [0, 1, 0]}, "cue": {"visible": [1, 0, 0]}}
    }
    caption = Caption("the red ball", (Span(0, 12, "ball", "ball:3"),))
    source = Records([Record("a", encode(grey_frames(3)), (caption,), None, labels)])
    (batch,) = pipeline_of(DataConfig(**SMALL), source).eval_batches(1)  # Frames 0 and 2.
    assert batch["clip_objects"][0].tolist() == [object_id("ball:3"), object_id("cue")] + [0] * 30
    assert batch["token_object"][0].tolist() == [0, 0, object_id("ball:3"), object_id("ball:3")] + [0] * 8
    assert np.flatnonzero(batch["local_mask"][0]).tolist() == [2, 3]


def test_frame_captions_come_with_their_frame():
    clip = encode(grey_frames(5))
    source = Records(
        Record(str(i), clip, (Caption("text"),), FrameCaption(Caption("the frame"), frame))
        for i, frame in enumerate([3, None])
    )
    (batch,) = pipeline_of(DataConfig(**SMALL, frame_captions=True), source).eval_batches(2)
    assert batch["frame"].shape == (2, 1, 16, 16, 3)
    np.testing.assert_allclose(batch["frame"][:, 0, 0, 0, 0], [30, 20], atol=1)
    assert batch["caption_mask"].sum(1).tolist() == [4, 4] and batch["caption_ids"].shape == (2, 12)
    without = Records([Record("a", clip, (Caption("x"),))])
    with pytest.raises(DataError, match="clip a has no frame caption"):
        next(pipeline_of(DataConfig(**SMALL, frame_captions=True), without).batches(1))


def test_long_texts_are_cut_and_flagged_and_empty_ones_are_bad():
    clip = encode(grey_frames(2))
    source = Records([Record("a", clip, (Caption("ball " * 30),)), Record("b", clip, (Caption(" "),))])
    (batch,) = pipeline_of(DataConfig(**SMALL), source).eval_batches(2)
    assert batch["truncated"].tolist() == [True, False] and batch["valid"].tolist() == [True, False]
    assert batch["text_ids"][0, -1] == 49407


def test_other_frame_sizes_are_resized(manifest):
    (batch,) = batches(manifest, 1, {"image_size": 24})
    assert batch["video"].shape == (4, 2, 24, 24, 3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_frames", 0, "config.data.num_frames is 0, but must be at least 1"),
        ("language_mask", "contents", "Did you mean 'content'"),
        ("sampling", "random", "must be one of uniform, jittered"),
        ("max_bad_fraction", 2.0, "must lie between 0 and 1"),
    ],
)
def test_a_wrong_config_is_refused(key, value, message):
    with pytest.raises(ConfigError, match=message):
        DataConfig(**{key: value})


def test_a_host_may_hold_rows_that_are_apart_and_rows_of_others(manifest):
    whole = batches(manifest, 2)
    for rows in ([0, 3], [1, 2, 3]):
        for part, batch in zip(batches(manifest, 2, rows=np.array(rows)), whole, strict=True):
            assert_same(part, {name: x[rows] for name, x in batch.items()})


# Examples 0 to 11, each as long as its number's place here; runs of two batches of three.
LENGTHS = np.array([9, 1, 8, 2, 7, 3, 5, 5, 5, 1, 1, 1])
RUNS = [(np.arange(6), np.arange(6)), (np.arange(6, 12), np.arange(6, 12))]


def lengths(places):
    return LENGTHS[places[1]]


def groups_at(groups, steps):
    return [groups(step)[1].tolist() for step in steps]


def test_a_run_holds_its_own_examples_short_ones_together():
    assert sorted(groups_at(LengthGroups(RUNS, lengths, 2, 0), (0, 1))) == [[1, 3, 5], [4, 2, 0]]
    assert sorted(groups_at(LengthGroups(RUNS, lengths, 2, 0), (2, 3))) == [[6, 7, 8], [9, 10, 11]]


def test_the_short_batch_is_not_always_the_first():
    runs = [RUNS[0]] * 20
    firsts = {tuple(groups_at(LengthGroups(runs, lengths, 2, 0), (2 * run,))[0]) for run in range(20)}
    assert firsts == {(1, 3, 5), (4, 2, 0)}


def test_a_batch_is_a_function_of_its_number_and_the_seed():
    groups = LengthGroups(RUNS, lengths, 2, 7)
    forwards = groups_at(groups, range(4))
    assert groups_at(pickle.loads(pickle.dumps(groups)), (3, 1, 0, 2)) == [forwards[i] for i in (3, 1, 0, 2)]


def test_positions_stay_with_their_examples():
    runs = [(np.arange(100, 106), np.arange(6))]
    positions, indices = LengthGroups(runs, lengths, 2, 0)(0)
    assert (positions - 100).tolist() == indices.tolist()
