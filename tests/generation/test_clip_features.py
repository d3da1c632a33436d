import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.generation.clip_features import ClipEncoder
from hilight_jax.models.clip import normalise
from hilight_jax.models.hilight import HiLight, variables
from tests.generation.chat import frames
from tests.models import tiny_hilight

KEYS = np.array([0, 2])


@pytest.fixture(scope="module")
def params():
    return tiny_hilight.params()


def test_features_are_those_of_the_towers_and_token_mining(params):
    found = ClipEncoder(tiny_hilight.CONFIG, params)(frames(), KEYS)
    model, weights = HiLight(tiny_hilight.CONFIG), variables(params)
    towers = model.apply(weights, normalise(frames()[None]), KEYS[None], method="encode_video")
    mined = model.apply(weights, **towers, method="mine")
    np.testing.assert_allclose(found.tokens, mined["tokens"][0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.attention, mined["attention"][0], rtol=1e-5, atol=1e-5)
    assert found.tokens.shape == (4, 14) and found.attention.shape == (4, 2 + 3 * 4)


def test_a_clip_is_encoded_once_until_others_take_its_place(params):
    encode = ClipEncoder(tiny_hilight.CONFIG, params, cache_size=2)
    first = encode(frames(0), KEYS)
    assert encode(frames(0).copy(), KEYS) is first
    encode(frames(1), KEYS)
    assert encode(frames(0), KEYS) is first  # Seen later than clip 1, which makes room for clip 2.
    encode(frames(2), KEYS)
    assert encode(frames(0), KEYS) is first
    encode(frames(1), KEYS)
    encode(frames(2), KEYS)
    assert encode(frames(0), KEYS) is not first


def test_other_pixels_or_key_frames_are_another_clip(params):
    encode = ClipEncoder(tiny_hilight.CONFIG, params)
    one, changed = encode(frames(), KEYS), frames()
    changed[2, 7, 7, 2] ^= 1
    digests = {one.digest, encode(changed, KEYS).digest, encode(frames(), np.array([0, 1])).digest}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("shape", "keys", "message"),
    [
        ((3, 8, 9, 3), [0, 2], r"the clip has shape \(3, 8, 9, 3\), but the model sees \[frames, 8, 8, 3\]"),
        ((0, 8, 8, 3), [0], "the clip has shape"),
        ((3, 8, 8, 3), [0, 3], r"the key frames are \[0, 3\], but must be numbers from 0 to 2"),
        ((3, 8, 8, 3), [-1], "the key frames are"),
        ((3, 8, 8, 3), [], "the key frames are"),
    ],
)
def test_what_is_no_clip_is_a_sentence(params, shape, keys, message):
    with pytest.raises(DataError, match=message):
        ClipEncoder(tiny_hilight.CONFIG, params)(np.zeros(shape, np.uint8), np.array(keys))
