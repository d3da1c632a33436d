"""False captions: which of them a row of a batch shows, and which it leaves out."""

import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.data.clips import ClipLoader
from hilight_jax.data.config import DataConfig
from hilight_jax.data.records import Caption, Record
from hilight_jax.data.swaps import Swap, choose_swaps, read_swaps
from hilight_jax.data.tokenizers import ClipTokenizer
from tests.data.clips import encode, grey_frames

VIDEO = encode(grey_frames(5))
TRUE = ("red hits blue", "red strikes blue", "red meets blue")
FALSE = ("blue hits red", "blue strikes red", "blue meets red")


class Records(list):
    """A source in memory."""

    name = "records"


def record(numbers=(0, 1, 2), texts=FALSE, labels=None):
    swaps = [{"caption": number, "text": texts[number], "spans": []} for number in numbers]
    return Record("a", VIDEO, tuple(map(Caption, TRUE)), labels={"swaps": swaps} if labels is None else labels)


def loader(count, *records, length=12, sampling="jittered", seed=0):
    config = DataConfig(num_frames=2, image_size=16, text_length=length, swaps=count, sampling=sampling)
    return ClipLoader(config, Records(records), seed)


def train_batch(count, *records, positions=range(24), **options):
    positions = np.array(positions)
    return loader(count, *records, **options).train_batch((positions, positions % len(records)))


def texts(ids):
    """The numbers of texts among ``TRUE`` or among ``FALSE``."""
    tokenizer = ClipTokenizer(ids.shape[-1])
    known = {bytes(tokenizer(text).ids): number % 3 for number, text in enumerate(TRUE + FALSE)}
    return [known.get(bytes(row)) for row in ids.reshape(-1, ids.shape[-1])]


def test_one_swap_is_that_of_the_shown_caption():
    batch = train_batch(1, record())
    assert batch["swap_ids"].shape == (24, 1, 12) and batch["swap_ids"].dtype == np.int32
    assert batch["swap_mask"].shape == (24, 1) and batch["swap_mask"].all()
    assert texts(batch["swap_ids"]) == texts(batch["text_ids"])
    assert set(texts(batch["text_ids"])) == {0, 1, 2}
    evaluated = loader(1, record()).eval_batch(np.array([0, 1]))
    assert texts(evaluated["swap_ids"][:1]) == [0] and evaluated["swap_mask"].tolist() == [[True], [False]]


def test_further_swaps_are_those_of_other_captions_drawn_by_seed_epoch_and_index():
    batch = train_batch(2, record())
    first, second = np.array(texts(batch["swap_ids"])).reshape(24, 2).T
    assert first.tolist() == texts(batch["text_ids"]) and (second != first).all()
    assert len(set(zip(first, second, strict=True))) == 6
    again = train_batch(2, record(), positions=range(12, 24))
    np.testing.assert_array_equal(again["swap_ids"], batch["swap_ids"][12:])


def test_missing_swaps_are_masked():
    batch = train_batch(3, record(numbers=[2]), record(numbers=[]))
    assert batch["swap_mask"][::2].tolist() == [[True, False, False]] * 12 and not batch["swap_mask"][1::2].any()
    assert not batch["swap_ids"][~batch["swap_mask"]].any()


def test_a_swap_that_is_cut_is_masked():
    """What is left of it may be true."""
    long = ("blue hits red and then green", *FALSE[1:])
    batch = train_batch(3, record(texts=long), length=7)
    assert (batch["swap_mask"].sum(1) == 2).all() and not batch["truncated"].any()


def test_captions_and_frames_are_those_without_swaps():
    with_swaps, without = train_batch(3, record()), train_batch(0, record())
    assert with_swaps.keys() - without.keys() == {"swap_ids", "swap_mask"}
    for name, x in without.items():
        np.testing.assert_array_equal(with_swaps[name], x)


def test_without_a_draw_swaps_come_in_their_order_behind_the_captions_own():
    swaps = [Swap(number, text) for number, text in enumerate(FALSE)]
    assert [swap.caption for swap in choose_swaps(swaps, 1, 3, None)] == [1, 0, 2]
    assert choose_swaps(swaps, 1, 1, None) == [swaps[1]] and choose_swaps([], 1, 3, None) == []


@pytest.mark.parametrize("labels", [None, {"objects": {}}])
def test_data_without_the_label_is_refused(labels):
    clip = Record("a", VIDEO, (Caption("x"),), labels=labels)
    with pytest.raises(DataError, match="records, clip a has no list 'swaps' in its labels, which config.data.swaps"):
        train_batch(1, clip)


@pytest.mark.parametrize("entry", [{"caption": 3, "text": "x"}, {"text": "x"}, {"caption": 0}])
def test_a_swap_of_another_form_is_named(entry):
    with pytest.raises(DataError, match="clip a: a swap needs the number of one of the 3 captions"):
        read_swaps(record(labels={"swaps": [entry]}), "records")


def test_a_negative_number_is_refused():
    with pytest.raises(ConfigError, match="config.data.swaps is -1, but must be at least 0"):
        DataConfig(swaps=-1)
