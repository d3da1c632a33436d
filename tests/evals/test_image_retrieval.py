"""Text-to-image retrieval of Long-CLIP on a source whose right answers are known."""

import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.images import ImageDataConfig
from hilight_jax.data.records import Caption, Record
from hilight_jax.evals.image_retrieval import evaluate_images, image_headline
from tests.data.clips import encode, grey_frames

CONFIG = ImageDataConfig(image_size=16, text_length=8)


class Records(list):
    """A source in memory."""

    name = "records"


def source(*videos):
    return Records(Record(f"r{i}", video, (Caption(f"number {i}"),)) for i, video in enumerate(videos))


def embed(batch):
    """Long texts find their image, short ones all point at the image of record 0."""
    own = np.eye(4)[np.maximum(batch["index"], 0)]
    return {"image": own, "long": own, "short": np.eye(4)[np.zeros(len(own), int)]}


def test_every_usable_image_counts_once():
    grey = encode(grey_frames(1))
    result = evaluate_images(embed, CONFIG, source(grey, b"broken", grey, grey), batch_size=3)
    assert (result["images"], result["skipped"]) == (3, ["r1"])
    assert image_headline(result, "validation") == {
        "validation/long_text_to_image_r1": 1.0,
        "validation/long_text_to_image_r5": 1.0,
        "validation/short_text_to_image_r1": pytest.approx(1 / 3),
        "validation/short_text_to_image_r5": 1.0,
    }


def test_a_source_without_a_usable_image_is_refused():
    with pytest.raises(DataError, match="records has no image that can be evaluated"):
        evaluate_images(embed, CONFIG, source(b"broken"), batch_size=2)
