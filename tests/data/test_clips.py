"""Frames with long and short texts: which frame, which text, and what becomes of bad records."""

import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.data.clips import ImageTextLoader, first_sentence
from hilight_jax.data.config import ImageDataConfig
from hilight_jax.data.records import Caption, FrameCaption, Record
from hilight_jax.data.tokenizers import ClipTokenizer
from tests.data.clips import encode, grey_frames

CONFIG = ImageDataConfig(image_size=16, text_length=10)
VIDEO = encode(grey_frames(5))  # Frame i is grey 10 i.


class Records(list):
    """A source in memory."""

    name = "records"


def captioned(frame, text="A red ball. It lies near the pocket."):
    return Record(f"c{frame}", VIDEO, (Caption("not this"),), FrameCaption(Caption(text), frame))


def plain(name="p", texts=("one ball. two",), video=VIDEO):
    return Record(name, video, tuple(map(Caption, texts)))


def train_batch(*records, rows=None, **changes):
    config = ImageDataConfig(**{"image_size": 16, "text_length": 10, **changes})
    indices = np.arange(rows or len(records)) % len(records)
    return ImageTextLoader(config, Records(records), seed=0).train_batch((np.arange(len(indices)), indices))


def ids(text, length=10):
    return ClipTokenizer(length)(text).ids


def test_a_frame_caption_gives_its_frame_and_its_texts():
    batch = train_batch(captioned(4), captioned(1))
    np.testing.assert_allclose(batch["image"][:, 0, 0, 0], [40, 10], atol=1)
    np.testing.assert_array_equal(batch["long_ids"][0], ids("A red ball. It lies near the pocket."))
    np.testing.assert_array_equal(batch["short_ids"][0], ids("A red ball"))
    assert batch["truncated"].tolist() == [True, True] and batch["valid"].all()
    shapes = {name: (x.dtype.name, x.shape) for name, x in batch.items()}
    assert shapes == {
        "image": ("uint8", (2, 16, 16, 3)),
        "long_ids": ("int32", (2, 10)),
        "short_ids": ("int32", (2, 10)),
        "truncated": ("bool", (2,)),
        "index": ("int64", (2,)),
        "valid": ("bool", (2,)),
        "replaced": ("bool", (2,)),
    }


def test_without_a_frame_caption_a_frame_and_a_caption_are_drawn():
    record = plain(texts=("one", "two"))
    batch = train_batch(*[record] * 12)
    assert len(set(batch["image"][:, 0, 0, 0].tolist())) > 1
    assert len(set(map(bytes, batch["long_ids"]))) == 2
    evaluated = ImageTextLoader(CONFIG, Records([record]), seed=0).eval_batch(np.array([0, 1]))
    np.testing.assert_allclose(evaluated["image"][0, 0, 0, 0], 20, atol=1)
    np.testing.assert_array_equal(evaluated["long_ids"], [ids("one"), ids("")])
    assert evaluated["valid"].tolist() == [True, False]


def test_the_short_text_is_the_first_sentence_of_long_clips_rule():
    assert first_sentence("A table.\nTwo balls. Three.") == "A table"
    assert first_sentence("A 3.5 inch ball") == "A 3.5 inch ball"


def test_bad_records_are_replaced_and_counted():
    good, empty, broken = plain("good"), plain("empty", texts=(" ",)), plain("broken", video=b"nothing")
    past = captioned(9)
    batch = train_batch(good, empty, broken, past)
    assert batch["replaced"].tolist() == [False, True, True, True] and batch["index"].tolist() == [0, 1, 2, 3]
    assert batch["valid"].all()
    evaluated = ImageTextLoader(CONFIG, Records([good, empty, past]), seed=0).eval_batch(np.arange(3))
    assert evaluated["valid"].tolist() == [True, False, False]


@pytest.mark.parametrize(("field", "value"), [("image_size", 0), ("text_length", 2), ("max_bad_fraction", 2.0)])
def test_values_that_cannot_work_are_one_sentence(field, value):
    with pytest.raises(ConfigError, match=f"config.data.{field} is {value}, but must"):
        ImageDataConfig(**{field: value})
