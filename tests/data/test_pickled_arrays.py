import pickle

import numpy as np
import pytest

from hilight_jax.data.pickle_reader import PickleError
from hilight_jax.data.pickled_arrays import read_pickled_clip

CLIP = np.linspace(-2, 2, 2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)


def stored(tmp_path, value):
    path = tmp_path / "clip.pkl"
    path.write_bytes(pickle.dumps(value))
    return path


@pytest.mark.parametrize("value", [CLIP, CLIP[None], CLIP.astype(np.float64), CLIP.astype(">f4")])
def test_a_clip_is_read_as_float32(tmp_path, value):
    clip = read_pickled_clip(stored(tmp_path, value))
    assert clip.dtype == np.dtype("float32") and clip.dtype.isnative
    np.testing.assert_array_equal(clip, CLIP)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (CLIP[0], r"shape \(3, 4, 4\); a clip is \[frames, 3, rows, columns\]"),
        (np.moveaxis(CLIP, 1, -1), r"shape \(2, 4, 4, 3\)"),
        (CLIP[:0], r"shape \(0, 3, 4, 4\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), "its array is uint8"),
        (CLIP * 100, "its values reach 200.0"),
        (CLIP * np.nan, "its values reach nan"),
        ({"video": CLIP}, "it holds more than an array"),
    ],
)
def test_what_is_no_clip_is_refused(tmp_path, value, sentence):
    with pytest.raises(PickleError, match=sentence):
        read_pickled_clip(stored(tmp_path, value))


def test_a_missing_or_huge_file_is_refused_unread(tmp_path):
    with pytest.raises(PickleError, match="does not exist"):
        read_pickled_clip(tmp_path / "missing.pkl")
    with open(tmp_path / "huge.pkl", "wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(PickleError, match="1073741825 bytes, more than a clip can"):
        read_pickled_clip(tmp_path / "huge.pkl")
