"""Finders of an encoder and of a chat model with word tracks, built on it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from hilight_jax.data.conversations.words import encode_phrases
from hilight_jax.generation.locating import USUAL_THRESHOLD
from hilight_jax.models.clip import normalise
from hilight_jax.models.hilight import HiLight, variables
from hilight_jax.stages.finders import ChatFinder, EncoderFinder, fitted_threshold
from hilight_jax.stages.trained_encoder import load_encoder
from tests.models import tiny_hilight
from tests.serving.workdirs import make_encoder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("run") / "encoder")


def write_evaluation(workdir, name, step, threshold):
    (workdir / "evaluations").mkdir(exist_ok=True)
    places = None if threshold is None else {"threshold": threshold}
    result = {"name": name, "split": name, "step": step, "grounding": {"places": places}}
    (workdir / "evaluations" / f"{name}.json").write_text(json.dumps(result))


def test_the_threshold_is_the_one_that_the_evaluation_of_the_checkpoint_fitted(tmp_path):
    assert fitted_threshold(tmp_path, 1) == USUAL_THRESHOLD
    write_evaluation(tmp_path, "unseen", 1, 0.5)
    write_evaluation(tmp_path, "a", 1, None)
    assert fitted_threshold(tmp_path, 1) == 0.5
    write_evaluation(tmp_path, "validation", 1, 0.125)
    assert fitted_threshold(tmp_path, 1) == 0.125
    assert fitted_threshold(tmp_path, 2) == USUAL_THRESHOLD


def test_any_number_of_phrases_has_the_vectors_that_each_has_alone(workdir):
    finder = EncoderFinder(load_encoder(workdir), workdir)
    phrases = [f"the {colour} {thing}" for colour in ("red", "blue", "green") for thing in "abcdefg"]
    ids, content = encode_phrases(phrases)
    vectors = finder.phrases(ids, content)
    assert vectors.shape == (21, 16)
    np.testing.assert_allclose(vectors[20:], finder.phrases(ids[20:], content[20:]), atol=1e-6)


def test_a_chat_model_with_word_tracks_finds_with_its_own_parts(tmp_path):
    config = tiny_hilight.TRACKED
    params = tiny_hilight.params(config)
    write_evaluation(tmp_path, "validation", 7, 0.375)
    origin = SimpleNamespace(workdir=str(tmp_path), step=7)
    data = SimpleNamespace(num_frames=3)
    finder = ChatFinder(SimpleNamespace(config=config, params=params, data=data, origins={"local": origin}))
    assert (finder.num_frames, finder.threshold) == (3, 0.375)
    side = config.vision.image_size
    assert finder.image_size == side and finder.columns * config.vision.patch_size == side
    frames = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    (patches,) = finder.patches(frames[None])
    keys = np.zeros((1, 1), np.int32)
    out = HiLight(config).apply(variables(params), normalise(frames[None]), keys, method="encode_video")
    np.testing.assert_allclose(patches, out["patch_features"][0], atol=1e-5)
    ids, content = encode_phrases(["the red ball"])
    content[:] = True
    vectors = HiLight(config).apply(variables(params), ids, ids > 0, content, method="encode_phrases")
    np.testing.assert_allclose(finder.phrases(ids, content), vectors, atol=1e-5)
