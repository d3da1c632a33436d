"""Places of phrases in frames, by a finder whose patches are the colours of the picture."""

import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.words import encode_phrases
from hilight_jax.generation.locating import locate
from hilight_jax.generation.video_clip import VideoClip
from tests.generation.colours import SIDE, ColourFinder

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)


def clip_of(squares, numbers=None, size=(40, 80)):
    """A clip of grey frames, each with squares of 4 x 4 px at patches (row, column)."""
    frames = np.full((len(squares), SIDE, SIDE, 3), GREY, np.uint8)
    for frame, marks in zip(frames, squares, strict=True):
        for (row, column), colour in marks.items():
            frame[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = colour
    numbers = np.arange(len(frames)) if numbers is None else np.array(numbers)
    return VideoClip("a.mp4", frames, frames, numbers, 100, numbers / 10, size)


def test_a_thing_is_found_in_pixels_of_the_video():
    clip = clip_of([{(0, 0): RED, (3, 3): BLUE}, {(1, 2): RED}], numbers=[7, 9])
    red, blue = locate(ColourFinder(num_frames=2), clip, ["the red ball", "the blue ball"])
    assert red.phrase == "the red ball" and red.frames.tolist() == [7, 9] and red.times.tolist() == [0.7, 0.9]
    # Patches of 20 x 10 px: the centres of (0, 0) and (1, 2), then of (3, 3).
    np.testing.assert_allclose([red.x, red.y], [[10, 50], [5, 15]], atol=0.01)
    np.testing.assert_allclose([blue.x[0], blue.y[0]], [70, 35], atol=0.01)
    assert red.seen.tolist() == [True, True] and blue.seen.tolist() == [True, False]
    np.testing.assert_allclose(red.strength, 1, atol=1e-3)
    assert red.reach == 0.75 * 15


def test_a_group_spans_the_clip_and_every_frame_gets_its_own_place():
    finder = ColourFinder(num_frames=2)
    clip = clip_of([{(0, i % 4): RED} for i in range(5)], numbers=[40, 10, 20, 30, 0])
    (found,) = locate(finder, clip, ["red"])
    np.testing.assert_allclose(found.x, [10, 30, 50, 70, 10], atol=0.01)
    columns = [[int(np.argmax(frame[0, ::4, 0])) for frame in group] for group in finder.seen]
    # Frames 0 to 40 in order show columns 0, 1, 2, 3, 0: three groups of every third, the last one filled up.
    assert columns == [[0, 3], [1, 0], [2, 2]]


def test_as_many_frames_as_the_model_sees_are_its_own_clip():
    finder, clip = ColourFinder(num_frames=3), clip_of([{(0, 0): RED}, {(0, 1): RED}, {(0, 2): RED}])
    locate(finder, clip, ["red"])
    assert len(finder.seen) == 1 and (finder.seen[0] == clip.frames).all()


@pytest.mark.parametrize("phrase", ["", "the", "where is it?", "..."])
def test_a_phrase_that_names_nothing_is_refused(phrase):
    with pytest.raises(DataError, match="names nothing that can be seen"):
        locate(ColourFinder(num_frames=1), clip_of([{}]), ["red", phrase])


def test_an_article_and_capitals_change_nothing():
    ids = [encode_phrases([f"the {name}"])[0].tolist() for name in ("red ball",)]
    finder = ColourFinder(num_frames=1)
    locate(finder, clip_of([{}]), ["The RED ball"])
    locate(finder, clip_of([{}]), ["red ball"])
    assert [given.tolist() for given in finder.asked] == [ids[0], ids[0]]
