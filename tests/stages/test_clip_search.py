"""A search by words in a world whose right answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.video import decode
from hilight_jax.stages import clip_search
from hilight_jax.stages.clip_search import compare, encode_clip
from tests.evals.coloured_discs import FRAMES, SETS, ColouredDiscs, ColourEncoder

RED, GREEN, RED_GREEN = 0, 1, SETS.index((0, 1))


@pytest.fixture(scope="module")
def clips():
    """The seven clips of coloured discs, encoded."""
    videos = (decode(ColouredDiscs()[i].video, lambda n: uniform_indices(n, FRAMES)) for i in range(len(SETS)))
    return [encode_clip(ColourEncoder(), frames) for frames in videos]


def test_a_clip_keeps_its_embedding_and_the_patches_of_the_map(clips):
    assert clips[0].patches.shape == (FRAMES, 16, 3) and clips[0].patches.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm([clip.embed for clip in clips], axis=1), 1)
    np.testing.assert_allclose(clips[RED].patches.max((0, 1)), [1, 0, 0], atol=0.05)


def test_words_are_looked_for_in_every_clip(clips):
    similarity, score = compare(ColourEncoder(), "look: the red ball and the green ball", clips)
    # Both things are found in the clips that show both: the sets (0, 1) and (0, 1, 2).
    gain = score - similarity
    assert set(np.argsort(-gain)[:2]) == {RED_GREEN, len(SETS) - 1}
    assert score.argmax() == similarity.argmax() == RED_GREEN
    plain = compare(ColourEncoder(), "look: the red ball and the green ball", clips, words=False)
    np.testing.assert_array_equal(plain.score, similarity)


def test_patches_are_read_for_the_shortlist_alone(clips):
    unreadable = [clip._replace(patches=None) for clip in clips]
    best = int(compare(ColourEncoder(), "the red ball", clips, words=False).similarity.argmax())
    unreadable[best] = clips[best]
    found = compare(ColourEncoder(), "the red ball", unreadable, num_listed=1)
    assert found.score.argmax() == best == RED
    np.testing.assert_allclose(found.score[RED], found.similarity[RED])


def test_a_text_that_names_nothing_is_compared_as_a_whole(clips, monkeypatch):
    monkeypatch.setattr(clip_search, "best_cosines", None)
    found = compare(ColourEncoder(), "what happens next", clips)
    np.testing.assert_array_equal(found.score, found.similarity)


def test_without_local_heads_words_are_refused_and_not_taken_by_default(clips):
    encoder = ColourEncoder()
    encoder.config.model.local = SimpleNamespace(levels=())
    frames = np.zeros((FRAMES, 32, 32, 3), np.uint8)
    assert encode_clip(encoder, frames).patches is None
    found = compare(encoder, "the red ball", clips)
    np.testing.assert_array_equal(found.score, found.similarity)
    with pytest.raises(ConfigError, match="words=true needs an encoder with local heads"):
        compare(encoder, "the red ball", clips, words=True)


def test_nothing_to_compare_is_refused(clips):
    with pytest.raises(DataError, match="at least one word"):
        compare(ColourEncoder(), " ?!", clips)
    with pytest.raises(DataError, match="there is no clip"):
        compare(ColourEncoder(), "the red ball", [])
