import jax
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.generation.sampling import SamplingConfig, limit, most_likely, row_keys, token_log_probs
from hilight_jax.generation.sampling import sample as sample_rows

LOGITS = np.log([[0.5, 0.25, 0.125, 0.125]]).astype(np.float32)


def allowed(**limits):
    return np.isfinite(limit(LOGITS, np.array([limits.get("top_k", 4)]), np.array([limits.get("top_p", 1.0)])))[
        0
    ].tolist()


def sample(logits, keys, step, config):
    return sample_rows(logits, [keys], [step] * len(logits), [config] * len(logits))


def expected_token(logits, key, step, config):
    """Chooses a row's token in numpy, with the noise that ``jax.random.categorical`` adds for the same key."""
    if config.temperature == 0:
        return int(np.argmax(logits))
    scores = logits / np.float32(config.temperature)
    falling = np.sort(scores)[::-1]
    if config.top_k:
        falling = falling[falling >= falling[min(config.top_k, len(falling)) - 1]]
    if config.top_p < 1:
        weights = np.exp(falling.astype(np.float64) - falling[0])
        falling = falling[: np.searchsorted(np.cumsum(weights / weights.sum()), config.top_p) + 1]
    noise = np.asarray(jax.random.gumbel(jax.random.fold_in(key, step), logits.shape))
    return int(np.argmax(np.where(scores >= falling[-1], scores + noise, -np.inf)))


GREEDY, UNLIMITED = SamplingConfig(), SamplingConfig(temperature=1.0)
TOP_K = [SamplingConfig(temperature=0.5 + k / 1000, top_k=k) for k in (1, 3, 64, 65, 1024, 1025, 5000)]
TOP_P = SamplingConfig(temperature=2.0, top_p=0.4, seed=2)
BOTH = SamplingConfig(temperature=1.3, top_k=7, top_p=0.6)


@pytest.mark.parametrize(
    "configs",
    [
        *([config] for config in (GREEDY, UNLIMITED, *TOP_K, TOP_P, BOTH)),
        [GREEDY, UNLIMITED],
        [GREEDY, UNLIMITED, *TOP_K[:3]],
        [GREEDY, UNLIMITED, *TOP_K[:5]],
        [GREEDY, UNLIMITED, *TOP_K],
        [GREEDY, UNLIMITED, *TOP_K, TOP_P, BOTH],
    ],
    ids=lambda configs: "+".join(f"{c.temperature:g},{c.top_k},{c.top_p:g}" for c in configs),
)
@pytest.mark.parametrize("vocab", [40, 2000])
def test_rows_are_sampled_as_they_would_be_by_themselves(configs, vocab):
    configs, rng = (configs * 24)[:24], np.random.default_rng(0)
    logits = 2 * rng.standard_normal((24, vocab)).astype(np.float32)
    logits[::2] = np.round(logits[::2])  # Rows with many ties.
    keys = [row_keys(config, [np.array([i], np.int32)]) for i, config in enumerate(configs)]
    for first in (0, 3):
        steps = [first + i % 3 for i in range(24)]
        expected = [expected_token(*row) for row in zip(logits, [key[0] for key in keys], steps, configs, strict=True)]
        assert sample_rows(logits, keys, steps, configs).tolist() == expected
        alone = [sample_rows(logits[i : i + 1], keys[i : i + 1], steps[i : i + 1], configs[i : i + 1]) for i in (0, 5)]
        assert [int(token[0]) for token in alone] == [expected[0], expected[5]]


def test_greedy_takes_the_first_of_the_best():
    logits = np.array([[0.0, 3.0, 3.0], [5.0, 3.0, 4.0]], np.float32)
    keys = row_keys(SamplingConfig(), [np.array([1]), np.array([2])])
    assert sample(logits, keys, 0, SamplingConfig()).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [True, True, True, True]),
        ({"top_k": 1}, [True, False, False, False]),
        ({"top_k": 2}, [True, True, False, False]),
        ({"top_k": 3}, [True, True, True, True]),  # The third ties with the fourth.
        ({"top_p": 0.4}, [True, False, False, False]),
        ({"top_p": 0.6}, [True, True, False, False]),
        ({"top_k": 2, "top_p": 0.6}, [True, False, False, False]),  # 0.5 / 0.75 is more than 0.6.
    ],
)
def test_what_may_be_drawn(limits, expected):
    assert allowed(**limits) == expected


def test_draws_follow_the_probabilities():
    config = SamplingConfig(temperature=1.0)
    keys = row_keys(config, [np.array([i]) for i in range(4000)])
    drawn = np.bincount(sample(np.repeat(LOGITS, 4000, axis=0), keys, 0, config), minlength=4) / 4000
    np.testing.assert_allclose(drawn, [0.5, 0.25, 0.125, 0.125], atol=0.03)


def test_a_high_temperature_makes_all_alike_and_a_low_one_greedy():
    keys = row_keys(SamplingConfig(), [np.array([i]) for i in range(4000)])
    logits = np.repeat(LOGITS, 4000, axis=0)
    hot = np.bincount(sample(logits, keys, 0, SamplingConfig(temperature=100.0)), minlength=4) / 4000
    np.testing.assert_allclose(hot, 0.25, atol=0.03)
    for temperature in (0.01, 1e-4):
        assert not np.any(sample(logits, keys, 0, SamplingConfig(temperature=temperature)))


def test_a_row_draws_the_same_in_any_batch_and_otherwise_at_every_step():
    config = SamplingConfig(temperature=1.0, seed=3)
    prompts = [np.array([4, 5]), np.array([6])]
    flat = np.zeros((2, 1000), np.float32)
    both = [sample(flat, row_keys(config, prompts), step, config).tolist() for step in range(3)]
    alone = [sample(flat[:1], row_keys(config, prompts[:1]), step, config).tolist() for step in range(3)]
    assert [row[:1] for row in both] == alone
    assert len({i for row in both for i in row}) > 4


def test_the_seed_decides():
    flat, prompts = np.zeros((8, 1000), np.float32), [np.array([i]) for i in range(8)]
    one, two, again = (
        sample(flat, row_keys(c, prompts), 0, c).tolist()
        for c in (SamplingConfig(temperature=1.0, seed=seed) for seed in (0, 1, 0))
    )
    assert one == again != two


def test_more_than_the_vocabulary_is_all_of_it():
    config = SamplingConfig(temperature=1.0, top_k=100)
    assert sample(LOGITS, jax.random.split(jax.random.key(0), 1), 0, config).shape == (1,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0, but must be 0"),
        ({"temperature": 1e-5}, r"temperature is 1e-05, but must be 0 \(greedy\) or at least 0.0001"),
        ({"temperature": float("nan")}, "temperature is nan, but must be 0"),
        ({"temperature": 1.0, "top_k": -1}, "top_k is -1, but must be at least 1"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p is 0.0, but must be above 0"),
        ({"temperature": 1.0, "top_p": 1.5}, "top_p is 1.5, but must be above 0 and at most 1"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0, but must be at least 1"),
        ({"seed": -1}, "seed is -1, but must be at least 0"),
        ({"top_k": 5}, "temperature is 0, which always takes the best token, so top_k=5"),
        ({"top_p": 0.9}, "set a temperature above 0, or leave them out"),
    ],
)
def test_what_cannot_be_is_a_sentence(changes, message):
    with pytest.raises(ConfigError, match=message):
        SamplingConfig(**changes)


def test_a_token_has_its_softmax_probability_at_every_temperature():
    ids, temperatures = np.array([0, 3]), np.array([1.0, 0.5], np.float32)
    found = np.exp(token_log_probs(np.repeat(LOGITS, 2, axis=0), ids, temperatures))
    # Halves, a quarter and two eighths; at 0.5 their squares, 16, 4, 1 and 1 of 64.
    np.testing.assert_allclose(found, [[0.5, 16 / 22], [0.125, 1 / 22]], rtol=1e-6)


def test_the_most_likely_tokens_come_first():
    ids, log_probs = most_likely(LOGITS[:, ::-1], 0.5, 2)
    assert ids.tolist() == [[3, 2]]
    np.testing.assert_allclose(np.exp(log_probs), [[16 / 22, 4 / 22]], rtol=1e-6)
