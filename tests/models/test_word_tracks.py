"""Word tracks by hand: maps of a few patches, rows of a few tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.local_heads import map_features
from hilight_jax.models.word_tracks import (
    TRACK,
    WordTracks,
    WordTracksConfig,
    add_to_words,
    cosine_maps,
    features_found,
    mean_embeddings,
    measure_tracks,
    phrase_vectors,
    read_tracks,
)
from tests.models import tiny_hilight as tiny


def track(*frames, columns=3, sharpness=20.0):
    """Numbers of a map's frames by name, each a list with a number of each frame."""
    found = measure_tracks(jnp.array(frames, jnp.float32), columns, sharpness)
    return {name: np.asarray(found[:, k], np.float64).round(4).tolist() for k, name in enumerate(TRACK)}


def test_a_peak_in_the_middle_lies_in_the_middle():
    found = track([0, 0, 0, 0, 0.9, 0, 0, 0, 0])
    assert (found["strength"], found["mean"]) == ([0.9], [0.1])
    assert (found["x"], found["y"]) == ([0.0], [0.0])
    assert (found["step_x"], found["step_y"]) == ([0.0], [0.0])


def test_places_run_from_minus_one_at_the_left_and_top_to_one():
    """Centres of three patches are at -2/3, 0 and 2/3; of two rows at -1/2 and 1/2."""
    left, right = track([0.9, 0, 0, 0, 0, 0], sharpness=100), track([0, 0, 0, 0, 0, 0.9], sharpness=100)
    assert (left["x"], left["y"]) == ([-0.6667], [-0.5])
    assert (right["x"], right["y"]) == ([0.6667], [0.5])


def test_a_peak_on_two_patches_lies_between_them():
    found = track([0.9, 0.9, 0, 0, 0, 0, 0, 0, 0])
    assert (found["x"], found["y"]) == ([-0.3333], [-0.6667])


def test_a_like_thing_far_away_does_not_draw_the_place_but_widens_the_spread():
    alone, twice = track([0.9, 0, 0, 0], columns=4, sharpness=100), track([0.9, 0, 0, 0.9], columns=4, sharpness=100)
    assert alone["x"] == twice["x"] == [-0.75]
    assert (alone["spread"], twice["spread"]) == ([0.0], [0.75])


def test_steps_are_those_of_the_place():
    found = track([0.9, 0, 0], [0, 0.9, 0], [0, 0, 0.9], sharpness=100)
    assert found["step_x"] == [0.0, 0.6667, 0.6667] and found["step_y"] == [0.0, 0.0, 0.0]


def test_a_phrase_is_the_mean_of_its_content_tokens_directions():
    tokens = jnp.array([[[9.0, 9.0], [2.0, 0.0], [0.0, 5.0]], [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    mask = jnp.array([[False, True, True], [False, False, False]])
    np.testing.assert_allclose(phrase_vectors(tokens, mask), [[0.5, 0.5], [0.0, 0.0]])


def test_maps_are_cosines_and_the_strongest_patch_is_what_was_found():
    patches = jnp.array([[[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [-1.0, 0.0]]]])  # Two frames of two patches.
    maps = cosine_maps(patches, jnp.array([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]]))
    np.testing.assert_allclose(maps[0], [[[1, 0], [0.6, -1]], [[0, 1], [0.8, 0]], [[0.5, 0.5], [0.7, -0.5]]])
    np.testing.assert_allclose(features_found(patches, maps)[0], [[1, 0], [0, 1], [0.6, 0.8]])


def test_levels_join_so_that_one_product_is_the_weighted_mean_of_their_cosines():
    rng = np.random.default_rng(0)
    (a, b), (c, d) = rng.normal(size=(2, 2, 5))

    def cosine(x, y):
        return x @ y / np.linalg.norm(x) / np.linalg.norm(y)

    joined = map_features([a, c, a], [0.25, 0.75, 0.0]) @ map_features([b, d, b], [0.25, 0.75, 0.0])
    assert joined == pytest.approx(0.25 * cosine(a, b) + 0.75 * cosine(c, d), abs=1e-6)


def test_a_word_carries_the_clips_before_it_and_no_other():
    """Rows: word 1, a clip of two rows, word 1, word 2, the second clip, word 2, none."""
    is_video = jnp.array([[0, 1, 1, 0, 0, 1, 1, 0, 0]], bool)
    rows = jnp.array([[1, 0, 0, 1, 2, 0, 0, 2, 0]])
    vectors = jnp.array([[[[1.0], [10.0]], [[100.0], [1000.0]]]])
    assert add_to_words(vectors, rows, is_video, 2)[0, :, 0].tolist() == [0, 0, 0, 1, 10, 0, 0, 1010, 0]


def test_names_are_the_mean_of_their_ids_embeddings():
    embeds = jnp.array([[[[2.0], [4.0]], [[6.0], [99.0]]]])
    assert mean_embeddings(embeds, jnp.array([[[5, 7], [5, 0]]])).tolist() == [[[3.0], [6.0]]]


def test_heads_of_relations_divide_the_width():
    tracks = WordTracksConfig(num_frames=2, embed_dim=4, hidden=4, relation_layers=1, relation_heads=5)
    with pytest.raises(ConfigError, match=r"relation_heads is 5, but must divide model.gemma.width="):
        tiny.config(text=tiny.TEXT, local=tiny.LOCAL, word_tracks=tracks)


def test_a_track_is_read_frame_by_frame():
    tracks = jnp.arange(14.0).reshape(1, 2, 7)
    assert read_tracks(tracks, 0).tolist() == [list(range(14))]
    assert read_tracks(tracks, 3).shape == (1, 2 * (7 + 4 * 3))


def test_places_are_read_as_waves_each_octave_twice_as_fast():
    x, y = 1 / 3, -1.0
    track = jnp.zeros((1, len(TRACK))).at[0, TRACK.index("x")].set(x).at[0, TRACK.index("y")].set(y)
    sines = [np.sin(np.pi / 6), np.sin(np.pi / 3), np.sin(-np.pi / 2), np.sin(-np.pi)]
    cosines = [np.cos(np.pi / 6), np.cos(np.pi / 3), np.cos(-np.pi / 2), np.cos(-np.pi)]
    sin_x, sin_2x, sin_y, sin_2y = sines
    cos_x, cos_2x, cos_y, cos_2y = cosines
    waves = [sin_x, sin_2x, cos_x, cos_2x, sin_y, sin_2y, cos_y, cos_2y]
    np.testing.assert_allclose(read_tracks(track, 2)[len(TRACK) :], waves, atol=1e-6)


def related(num_things, layers, seed=0):
    """A module with relations, its parameters and inputs for one clip."""
    config = WordTracksConfig(
        num_frames=2, embed_dim=3, hidden=4, max_clips=2, octaves=1, relation_layers=layers, relation_heads=2
    )
    module, rng = WordTracks(config, 8, ComputeConfig()), np.random.default_rng(seed)
    tracks, features = rng.normal(size=(1, 1, num_things, 2, len(TRACK))), rng.normal(size=(1, 1, num_things, 3))
    inputs = (tracks, features, rng.normal(size=(1, num_things, 8)))
    params = module.init(jax.random.key(0), *inputs, method="things")["params"]
    noise = lambda x: x + 0.1 * rng.normal(size=x.shape)  # noqa: E731
    return module, jax.tree.map(noise, params), inputs


def test_the_order_of_things_changes_nothing_but_the_order_of_their_rows():
    module, params, (tracks, features, names) = related(5, 2)
    order = np.array([3, 0, 4, 1, 2])
    rows = module.apply({"params": params}, tracks, features, names, method="things")
    moved = module.apply(
        {"params": params}, tracks[:, :, order], features[:, :, order], names[:, order], method="things"
    )
    np.testing.assert_allclose(moved, rows[:, :, order], atol=1e-5)


@pytest.mark.parametrize("layers", [0, 1])
def test_a_thing_hears_of_the_others_by_its_relations_alone(layers):
    module, params, (tracks, features, names) = related(3, layers)
    changed = tracks.copy()
    changed[0, 0, 2] += 1
    rows, others = (module.apply({"params": params}, x, features, names, method="things") for x in (tracks, changed))
    assert (np.abs(rows - others)[0, 0, 0].max() > 1e-4) == bool(layers)


@pytest.mark.parametrize("layers", [0, 2])
def test_fresh_tracks_add_nothing_to_words_and_leave_things_their_names(layers):
    config = WordTracksConfig(
        num_frames=2, embed_dim=3, hidden=4, max_clips=2, octaves=layers, relation_layers=layers, relation_heads=1
    )
    module = WordTracks(config, 5, ComputeConfig())
    rng = np.random.default_rng(0)
    tracks, features = rng.normal(size=(1, 2, 6, 2, len(TRACK))), rng.normal(size=(1, 2, 6, 3))
    names = rng.normal(size=(1, 6, 5))

    def both(module, *arrays):
        return module.words(arrays[0]), module.things(*arrays)

    (words, things), _ = module.init_with_output(jax.random.key(0), tracks, features, names, method=both)
    assert not words.any()
    np.testing.assert_allclose(things, np.repeat(names[:, None], 2, axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"word_tracks": None}, "model.word_tracks is not set"),
        ({"text": None, "local": None}, "model.text and model.local is not set"),
    ],
)
def test_word_tracks_need_the_encoders_text_side(changes, sentence):
    given = {"text": tiny.TEXT, "local": tiny.LOCAL, "word_tracks": tiny.WORD_TRACKS} | changes
    with pytest.raises(ConfigError, match=sentence):
        tiny.config(**given)


@pytest.mark.parametrize("name", ["num_frames", "embed_dim", "hidden", "max_clips", "sharpness", "relation_heads"])
def test_a_size_of_nought_is_refused(name):
    with pytest.raises(ConfigError, match=rf"word_tracks\.{name} is 0"):
        WordTracksConfig(**{name: 0})


@pytest.mark.parametrize("name", ["octaves", "relation_layers"])
def test_less_than_none_is_refused(name):
    with pytest.raises(ConfigError, match=rf"word_tracks\.{name} is -1, but must be at least 0"):
        WordTracksConfig(**{name: -1})


def test_without_word_tracks_a_model_is_what_it_was():
    assert HiLightConfig().word_tracks is None and HiLightConfig().num_video_tokens(12) == 384
