import jax.numpy as jnp

from hilight_jax.training.chat_objective import answers_right


def test_an_answer_is_right_only_if_all_of_its_tokens_are():
    #                     one answer, wrong at its end | two answers, the second wrong | padding only
    labelled = jnp.array([[0, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    right = jnp.array([[0, 1, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]], bool)
    assert [float(x) for x in answers_right(right, labelled)] == [1, 3]


def test_an_answer_at_the_end_of_a_row_does_not_run_on_into_the_next():
    labelled = jnp.array([[0, 1], [1, 0]], bool)
    right = jnp.array([[0, 0], [1, 0]], bool)
    assert [float(x) for x in answers_right(right, labelled)] == [1, 2]
