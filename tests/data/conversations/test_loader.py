import itertools
import json
import pickle

import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import IGNORE_ID, VIDEO_ID
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.conversation import Conversation, Turn
from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.frame_sampling import KeyFrameConfig
from hilight_jax.data.pipelines import Pipeline
from tests.data.clips import encode, grey_frames
from tests.data.conversations.tiny_gemma import PATH

SIZES = {
    "num_frames": 4,
    "image_size": 16,
    "key_frames": KeyFrameConfig(count=2),
    "num_video_tokens": 6,
    "tokenizer": str(PATH),
    "max_length": 256,
    "buckets": (32, 64, 128, 256),
    "max_videos": 2,
}


class Conversations:
    """A source in memory."""

    name = "conversations"

    def __init__(self, *conversations):
        self._conversations = conversations

    def __len__(self):
        return len(self._conversations)

    def conversation(self, index, rng):
        return self._conversations[index]


def clip(level=0, num_frames=4):
    return encode(np.full((num_frames, 16, 16, 3), level, np.uint8))


def talk(name, question="<video>\nWhat?", answer="A.", videos=None):
    videos = (clip(),) if videos is None else tuple(videos)
    return Conversation(name, videos, (Turn("user", question), Turn("model", answer)))


def pipeline(source, seed=0, **config):
    config = ConversationDataConfig(**{**SIZES, "length_group": 1, **config})
    return Pipeline(config, source, ConversationLoader(config, source, seed), seed)


def batches(source, count, seed=0, config=None, **where):
    with pipeline(source, seed, **(config or {})).batches(4, **where) as iterator:
        return list(itertools.islice(iterator, count))


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def joined(parts, names=None):
    return {name: np.concatenate([part[name] for part in parts]) for name in names or parts[0]}


def mixed(count=10):
    """Conversations of 0 to 2 clips, of very different lengths; number i shows grey 20 i."""
    conversations = []
    for i in range(count):
        videos = [clip(20 * i)] * (i % 3)
        words = "What happens here? " * (10 if i == 7 else 1 + i % 2)
        conversations.append(talk(str(i), "<video>\n" * len(videos) + words, "The red ball drops.", videos))
    return Conversations(*conversations)


def test_a_batch_holds_what_the_contract_says():
    (batch,) = batches(mixed(), 1)
    length = batch["ids"].shape[1]
    shapes = {name: (x.dtype.name, x.shape) for name, x in batch.items()}
    assert shapes == {
        "video": ("uint8", (4, 2, 4, 16, 16, 3)),
        "video_mask": ("bool", (4, 2)),
        "key_frames": ("int32", (4, 2, 2)),
        "ids": ("int32", (4, length)),
        "mask": ("bool", (4, length)),
        "labels": ("int32", (4, length)),
        "learned": ("int32", (4, length // 2 - 1)),
        "positions": ("int32", (4, length)),
        "branch": ("int32", (4, length)),
        "index": ("int64", (4,)),
        "valid": ("bool", (4,)),
        "replaced": ("bool", (4,)),
        "truncated": ("bool", (4,)),
    }
    assert batch["valid"].all() and not batch["replaced"].any() and not batch["truncated"].any()


def test_a_row_holds_its_clips_and_rows_for_them():
    (batch,) = pipeline(mixed(3)).eval_batches(3)
    assert batch["video_mask"].tolist() == [[False, False], [True, False], [True, True]]
    np.testing.assert_allclose(batch["video"][:, :, 0, 0, 0, 0].astype(int), [[0, 0], [20, 0], [40, 40]], atol=1)
    assert batch["key_frames"].tolist() == [[[0, 0], [0, 0]], [[0, 3], [0, 0]], [[0, 3], [0, 3]]]
    assert (batch["ids"] == VIDEO_ID).sum(1).tolist() == [0, 6, 12]
    assert (batch["labels"][batch["ids"] == VIDEO_ID] == IGNORE_ID).all()
    np.testing.assert_array_equal(batch["mask"], batch["ids"] != 0)
    assert (batch["labels"] != IGNORE_ID).any(1).all()


def test_the_bucket_is_the_shortest_that_holds_the_longest_row():
    lengths = [int(row["mask"].sum()) for row in batches(Conversations(talk("a")), 1)]
    assert lengths[0] // 4 <= 32 and batches(Conversations(talk("a")), 1)[0]["ids"].shape[1] == 32
    for batch in batches(mixed(), 6):
        longest, length = batch["mask"].sum(1).max(), batch["ids"].shape[1]
        assert length == next(bucket for bucket in SIZES["buckets"] if bucket >= longest)


def test_hosts_hold_the_same_global_batches_however_many_there_are():
    whole, evaluated = batches(mixed(), 5), list(pipeline(mixed()).eval_batches(4))
    assert len({batch["ids"].shape[1] for batch in whole}) > 1
    for hosts in (2, 4):
        all_rows = np.split(np.arange(4), hosts)
        parts = [batches(mixed(), 5, rows=rows) for rows in all_rows]
        for step in range(5):
            assert_same(joined([part[step] for part in parts]), whole[step])
        parts = [list(pipeline(mixed()).eval_batches(4, rows)) for rows in all_rows]
        for step in range(3):
            assert_same(joined([part[step] for part in parts]), evaluated[step])


def test_a_restart_and_workers_do_not_change_the_batches():
    whole = batches(mixed(), 3)
    for before, after in zip(whole[1:], batches(mixed(), 2, start_step=1), strict=True):
        assert_same(before, after)
    for before, after in zip(whole, batches(mixed(), 3, config={"num_workers": 1}), strict=True):
        assert_same(before, after)


def test_bad_conversations_are_replaced_by_a_rule_of_seed_and_index():
    good = [talk(str(i), videos=[clip(20 * i)]) for i in range(10)]
    bad_text = talk("two marks", "<video><video> What?")
    bad_clip = talk("no clip", videos=["nowhere.mp4"])
    for number, bad in ((3, bad_text), (5, bad_clip)):
        source = Conversations(*good[:number], bad, *good[number + 1 :])
        for seed in (0, 1):
            rows = joined(batches(source, 5, seed=seed))
            assert rows["index"][rows["replaced"]].tolist() == [number] * 2 and rows["valid"].all()
            stand_in = int(np.random.default_rng((seed, number)).integers(10, size=16)[0])
            levels = rows["video"][rows["replaced"]][:, 0, 0, 0, 0, 0].astype(int)
            np.testing.assert_allclose(levels, 20 * stand_in, atol=1)


def test_a_stand_in_for_a_clip_fits_into_the_bucket():
    long = talk("long", "<video>\n" + "What happens here? " * 12)
    source = Conversations(talk("no clip", videos=["nowhere.mp4"]), *[long] * 8, talk("short"))
    loader = ConversationLoader(ConversationDataConfig(**SIZES), source, seed=0)
    batch = loader.train_batch((np.arange(2), np.array([0, 9])))
    assert batch["ids"].shape == (2, 32) and batch["replaced"].tolist() == [True, False]
    assert batch["mask"].sum(1).tolist() == [batch["mask"][1].sum()] * 2


def test_a_conversation_is_never_learned_without_its_clips():
    source = Conversations(*[talk(str(i), videos=["nowhere.mp4"]) for i in range(3)])
    with pytest.raises(
        DataError, match=r"none of 17 conversations can be used \(the last because the file does not ex"
    ):
        batches(source, 1)


def test_a_long_conversation_is_cut_and_flagged_and_a_cut_clip_is_refused():
    turns = [Turn("user", "<video>\nWhat?"), Turn("model", "A shot."), Turn("user", "And? " * 60), Turn("model", "B.")]
    cut = Conversation("cut", (clip(),), tuple(turns))
    refused = cut._replace(id="refused", videos=(clip(), clip()), turns=(*turns[:3], Turn("model", "B. "), *turns[:2]))
    (batch,) = pipeline(Conversations(cut, refused), buckets=(), max_length=64).eval_batches(2)
    assert batch["truncated"].tolist() == [True, False] and batch["valid"].tolist() == [True, False]
    assert batch["mask"][0].all() and (batch["ids"][0] == VIDEO_ID).sum() == 6


def test_more_clips_than_the_config_allows_are_refused(caplog):
    source = Conversations(talk("three", "<video>" * 3 + "What?", videos=[clip()] * 3), talk("one"))
    (batch,) = pipeline(source).eval_batches(2)
    assert batch["valid"].tolist() == [False, True]
    assert "conversation three cannot be used: it has 3 clips, but config.data.max_videos is 2" in caplog.text


def test_evaluation_pads_with_rows_that_hold_nothing():
    whole = list(pipeline(mixed(5)).eval_batches(4))
    assert [batch["index"].tolist() for batch in whole] == [[0, 1, 2, 3], [4, -1, -1, -1]]
    last = whole[1]
    assert last["valid"].tolist() == [True, False, False, False]
    assert last["mask"][1:].sum(1).tolist() == [1, 1, 1] and (last["labels"][1:] == IGNORE_ID).all()
    assert not last["video_mask"][1:].any()


def test_a_quarantined_conversation_is_never_seen_nor_counted(tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"id": "3", "reason": "blurred"}))
    rows = joined(batches(mixed(), 5, config={"quarantine": str(path)}), ["index", "replaced"])
    assert 3 not in rows["index"] and not rows["replaced"].any()
    evaluated = joined(list(pipeline(mixed(), quarantine=str(path)).eval_batches(5)), ["index", "valid"])
    assert evaluated["index"][~evaluated["valid"]].tolist() == [3]


def test_key_frames_follow_their_rule():
    changing = encode(np.concatenate([grey_frames(1)] * 3 + [grey_frames(2, step=200)[1:]]))
    config = {"key_frames": KeyFrameConfig("content", 3)}
    (batch,) = pipeline(Conversations(talk("a", videos=[changing])), **config).eval_batches(1)
    assert batch["key_frames"][0, 0].tolist()[0] == 0 and batch["key_frames"][0, 0].tolist()[-1] == 3
    assert len(set(batch["key_frames"][0, 0].tolist())) == 3


def test_grouped_by_length_every_host_gets_its_rows_of_the_same_batches():
    talks = [talk(f"talk {i}", answer="Yes. " * (1 + 5 * i % 24)) for i in range(24)]
    grouped = {"length_group": 6}
    whole = batches(Conversations(*talks), 6, config=grouped)
    all_rows = np.split(np.arange(4), 2)
    halves = [batches(Conversations(*talks), 6, config=grouped, rows=rows) for rows in all_rows]
    for step, batch in enumerate(whole):
        rows = np.concatenate([half[step]["index"] for half in halves])
        assert rows.tolist() == batch["index"].tolist()
    assert sorted(np.concatenate([batch["index"] for batch in whole]).tolist()) == list(range(24))
    alone = batches(Conversations(*talks), 6)
    spread = [np.ptp(batch["mask"].sum(1)) for batch in whole]
    assert sum(spread) < sum(np.ptp(batch["mask"].sum(1)) for batch in alone)


def test_learned_holds_the_tokens_that_come_before_learned_ones():
    for batch in batches(Conversations(*(talk(f"talk {i}", answer="Yes. " * (1 + i)) for i in range(8))), 2):
        length = batch["ids"].shape[1]
        for labels, learned in zip(batch["labels"], batch["learned"], strict=True):
            before = np.flatnonzero(labels[1:] != -100).tolist()
            assert learned.tolist() == before + [length - 1] * (len(learned) - len(before))


def test_a_batch_of_which_more_than_half_is_learned_has_room_for_all():
    (batch,) = batches(Conversations(*(talk(f"talk {i}", answer="Yes. " * 60) for i in range(4))), 1)
    assert batch["learned"].shape == (4, batch["ids"].shape[1] - 1)
    last = batch["ids"].shape[1] - 1
    assert np.count_nonzero(batch["labels"][:, 1:] != -100) == np.count_nonzero(batch["learned"] != last)


def test_a_branched_conversation_holds_each_branch_as_it_is_alone():
    questions = "Is the red ball in view?", "Which ball hits the red ball?", "How many?"
    alone = [talk("one", f"<video>\n{question}", "The cue ball.") for question in questions]
    turns = tuple(turn for each in alone for turn in each.turns)
    tree = alone[0]._replace(turns=turns, branches=(0, 2, 4))
    things = {"things": ("the red ball", "the cue ball"), "num_video_tokens": 8}
    (whole,) = pipeline(Conversations(tree), **things).eval_batches(1)
    row, end = {name: x[0] for name, x in whole.items()}, int(whole["mask"].sum())
    trunk = int(np.flatnonzero(row["ids"] == VIDEO_ID)[-1]) + 1
    assert (row["branch"][:trunk] == 0).all() and not row["truncated"]
    start = trunk
    for number, each in enumerate(alone, 1):
        (single,) = pipeline(Conversations(each), **things).eval_batches(1)
        length = int(single["mask"].sum()) - trunk
        here, there = slice(start, start + length), slice(trunk, trunk + length)
        assert (row["branch"][here] == number).all()
        for name in ("ids", "labels", "positions"):
            np.testing.assert_array_equal(row[name][here], single[name][0, there], err_msg=name)
        named = [row["phrase_ids"][k - 1].tolist() if k else None for k in row["word_rows"][here]]
        rows = single["word_rows"][0, there]
        assert named == [single["phrase_ids"][0, k - 1].tolist() if k else None for k in rows]
        start += length
    assert start == end and len(np.unique(row["branch"])) == 4
    learned = row["learned"][row["learned"] < len(row["ids"]) - 1]
    assert learned.tolist() == np.flatnonzero(row["labels"][1:] != IGNORE_ID).tolist()


def test_branches_without_room_are_told_of_as_cut():
    turns = tuple(turn for _ in range(9) for turn in talk("a", "<video>\n" + "What? " * 4, "Yes. " * 4).turns)
    (batch,) = pipeline(Conversations(talk("a")._replace(turns=turns, branches=tuple(range(0, 18, 2))))).eval_batches(1)
    assert batch["truncated"].all() and 1 < batch["branch"].max() < 9


def test_a_branch_that_cannot_be_used_refuses_its_conversation():
    turns = (*talk("a").turns, Turn("user", "<video>\nWhat?"), Turn("model", " "))
    source = Conversations(talk("a")._replace(turns=turns, branches=(0, 2)))
    (batch,) = pipeline(source).eval_batches(1)
    assert not batch["valid"].any()


def test_texts_read_for_their_lengths_are_not_read_again():
    class Counting(Conversations):
        read = 0

        def conversation(self, index, rng):
            self.read += 1
            return super().conversation(index, rng)

    source = Counting(*(talk(f"talk {i}") for i in range(12)))
    loader = ConversationLoader(ConversationDataConfig(**SIZES), source, seed=0)
    places = np.arange(12), np.arange(12)
    plain = loader.train_batch(places)
    loader.lengths(places)
    read = source.read
    assert_same(loader.train_batch(places), plain)
    assert source.read == read


def test_a_loader_that_has_read_ahead_can_be_sent():
    loader = ConversationLoader(ConversationDataConfig(**SIZES), Conversations(talk("a"), talk("b")), seed=0)
    places = np.arange(2), np.arange(2)
    loader.lengths(places)
    assert_same(pickle.loads(pickle.dumps(loader)).train_batch(places), loader.train_batch(places))


def test_where_no_stand_in_fits_another_row_of_the_batch_stands_in():
    long = [talk(f"long {i}", answer="Yes. " * 60) for i in range(60)]
    short = [talk(f"short {i}") for i in range(3)]
    lost = talk("lost", videos=("nowhere.mp4",))
    source = Conversations(*long, *short, lost)
    config = ConversationDataConfig(**SIZES)
    places = np.arange(60, 64), np.arange(60, 64)
    batch = ConversationLoader(config, source, seed=0).train_batch(places)
    assert batch["valid"].all() and batch["replaced"].tolist() == [False, False, False, True]
    assert batch["index"].tolist() == [60, 61, 62, 63] and batch["ids"].shape[1] < 256
    assert batch["video_mask"].any(1).all()
