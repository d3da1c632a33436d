import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.stages.chat import ChatObjective, answers_right
from tests.stages.tiny_chat import tiny_chat_config


def test_chunks_of_logits_change_no_loss_no_gradient_and_no_right_answer():
    config = tiny_chat_config()
    whole, chunked = (ChatObjective(dataclasses.replace(config, loss_chunk=chunk)) for chunk in (0, 7))
    params = whole.init_params(jax.random.key(0))
    random, batch = np.random.default_rng(0), whole.example_batch(4)
    ids = random.integers(1, 20, batch["ids"].shape).astype(np.int32)
    batch |= {"ids": ids, "labels": np.where(random.random(ids.shape) < 0.5, -100, ids), "mask": ids > 0}

    def loss(objective):
        return jax.value_and_grad(lambda params: objective.loss_terms(params, batch)["next_token"].value())(params)

    expected, found = loss(whole), loss(chunked)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), found, expected)
    expected, found = (objective.validation_terms(params, batch) for objective in (whole, chunked))
    np.testing.assert_allclose(found["next_token"], expected["next_token"], rtol=1e-6)
    assert found["answers_right"] == expected["answers_right"]


def test_the_loss_of_learned_rows_is_that_of_all():
    config = tiny_chat_config()
    objective = ChatObjective(config)
    params, random, batch = (
        objective.init_params(jax.random.key(0)),
        np.random.default_rng(0),
        objective.example_batch(4),
    )
    ids = random.integers(1, 20, batch["ids"].shape).astype(np.int32)
    labels = np.where(random.random(ids.shape) < 0.3, ids, -100)
    learned = np.full((4, ids.shape[1] // 2 - 1), ids.shape[1] - 1, np.int32)
    for row, numbers in enumerate(labels[:, 1:] != -100):
        learned[row, : numbers.sum()] = np.flatnonzero(numbers)
    batch |= {"ids": ids, "labels": labels, "mask": ids > 0, "learned": learned}
    found = objective.loss_terms(params, batch)["next_token"]
    expected = objective.validation_terms(params, batch)["next_token"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.count == objective.loss_counts(batch)["next_token"]


def test_chunks_of_negative_length_are_refused():
    with pytest.raises(ConfigError, match="loss_chunk is -1, but must be at least 0; 0 takes all at once"):
        tiny_chat_config("align", "demo,frames=long_clip", "--config.loss_chunk=-1")


def test_an_answer_is_right_only_if_all_of_its_tokens_are():
    #                     one answer, wrong at its end | two answers, the second wrong | padding only
    labelled = jnp.array([[0, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    right = jnp.array([[0, 1, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]], bool)
    assert [float(x) for x in answers_right(right, labelled)] == [1, 3]


def test_an_answer_at_the_end_of_a_row_does_not_run_on_into_the_next():
    labelled = jnp.array([[0, 1], [1, 0]], bool)
    right = jnp.array([[0, 0], [1, 0]], bool)
    assert [float(x) for x in answers_right(right, labelled)] == [1, 2]
