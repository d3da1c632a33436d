"""Finders of an encoder and of a chat model with word tracks, built on it."""

import json

import numpy as np
import pytest

from hilight_jax.data.conversations.words import encode_phrases
from hilight_jax.generation.locating import USUAL_THRESHOLD
from hilight_jax.stages.finders import EncoderFinder, fitted_threshold
from hilight_jax.stages.trained_encoder import load_encoder
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
