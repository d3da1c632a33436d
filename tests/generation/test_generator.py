import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.models.hilight import HiLight, count_positions, variables
from tests.generation.chat import STOP_ID, Letters, clip, generator, prompt
from tests.models import tiny_hilight

LORA = {"lora": tiny_hilight.LORA}


def prompts():
    """Text alone, one clip, two clips, two clips apart, a long one."""
    return [
        prompt(5, 6),
        prompt(clip(0), 7, 8, 9),
        prompt(clip(0), clip(1), 7),
        prompt(clip(1), 7, 9, clip(0), 5),
        prompt(*range(2, 28)),
    ]


@functools.partial(jax.jit, static_argnums=0)
def training_path(config, ids, video_tokens):
    """Scores of every row, without padding and without a cache, and the embeddings that they come from."""
    model, params = HiLight(config), variables(tiny_hilight.params(config))
    embeds = model.apply(params, ids, video_tokens, method="embed")
    return scores_of(model, params, embeds), embeds[0]


def scores_of(model, params, embeds):
    mask = jnp.ones(embeds.shape[:2], bool)
    out = model.apply(params, embeds, count_positions(mask), mask, method="language")
    return model.apply(params, out["tokens"], method="logits")[0]


def reference(one, answer, **changes):
    """``training_path`` of a prompt and its answer."""
    video = np.concatenate([np.zeros((0, 14), np.float32), *(c.tokens for c in one.clips)])
    ids = np.concatenate([one.ids, answer]).astype(np.int32)
    return map(np.asarray, training_path(tiny_hilight.config(**changes), ids[None], video[None]))


@pytest.mark.parametrize("changes", [{}, LORA], ids=["plain", "lora"])
def test_an_answer_is_what_the_training_path_would_say(changes):
    for one in (prompts()[0], prompts()[3]):
        (answer,) = generator(**changes).generate([one], SamplingConfig(max_new_tokens=6, stop_ids=(39,)))
        logits, _ = reference(one, answer.ids, **changes)
        np.testing.assert_array_equal(answer.ids, logits[len(one.ids) - 1 : -1].argmax(-1)[: len(answer.ids)])
        np.testing.assert_allclose(generator(**changes).next_logits([one])[0], logits[len(one.ids) - 1], atol=1e-5)


def test_log_probabilities_are_those_of_the_training_path_for_every_token_and_the_one_that_stops():
    one = prompts()[3]
    (free,) = generator().generate([one], SamplingConfig(max_new_tokens=6, stop_ids=()))
    count = free.ids.tolist().index(stop := int(free.ids[4]))
    logits, _ = reference(one, free.ids)
    scores = logits[len(one.ids) - 1 :][: count + 1]

    def log_softmax(scores):
        return scores - np.log(np.exp(scores).sum(-1, keepdims=True))

    sampling, at = SamplingConfig(max_new_tokens=6, stop_ids=(stop,)), (1.0, 0.5, 3.0)
    (answer,) = generator().generate([one], sampling, temperatures=at)
    assert answer.finish_reason == "stop" and answer.ids.tolist() == free.ids[:count].tolist()
    steps, said = np.arange(count + 1), free.ids[: count + 1]
    np.testing.assert_allclose(answer.log_probs, log_softmax(scores)[steps, said], atol=1e-5)
    whole = [log_softmax(scores / temperature)[steps, said].sum() for temperature in at]
    np.testing.assert_allclose(answer.at_temperatures, whole, atol=1e-5)
    np.testing.assert_allclose(answer.confidence, np.exp(whole[0]), rtol=1e-5)
    config = tiny_hilight.CONFIG
    fitted = Generator(config, tiny_hilight.params(config), Letters(), 64, confidence_temperature=3.0)
    np.testing.assert_allclose(fitted.generate([one], sampling)[0].confidence, np.exp(whole[2]), rtol=1e-5)


def test_a_cut_answer_has_the_probability_of_its_tokens_alone():
    (answer,) = generator().generate([prompts()[1]], SamplingConfig(max_new_tokens=3, stop_ids=()))
    assert answer.finish_reason == "length" and answer.log_probs.shape == (3,) and answer.at_temperatures.shape == (0,)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_equals_singles(temperature):
    sampling = SamplingConfig(temperature=temperature, max_new_tokens=8)
    together = generator().generate(prompts(), sampling, temperatures=(0.5, 2.0))
    alone = [generator().generate([one], sampling, temperatures=(0.5, 2.0))[0] for one in prompts()]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        assert (a.text, a.finish_reason) == (b.text, b.finish_reason)
        np.testing.assert_allclose(a.log_probs, b.log_probs, atol=1e-5)
        np.testing.assert_allclose(a.at_temperatures, b.at_temperatures, atol=1e-4)
    singles = np.concatenate([generator().next_logits([one]) for one in prompts()])
    np.testing.assert_allclose(generator().next_logits(prompts()), singles, atol=1e-5)


def test_an_answer_stops_at_a_stop_id_and_does_not_hold_it():
    (free,) = generator().generate([prompts()[1]], SamplingConfig(max_new_tokens=8, stop_ids=(39,)))
    stop = int(free.ids[3])
    count = free.ids.tolist().index(stop)
    (answer,) = generator().generate([prompts()[1]], SamplingConfig(max_new_tokens=8, stop_ids=(stop,)))
    assert answer.ids.tolist() == free.ids[:count].tolist() and answer.finish_reason == "stop"
    assert answer.text == Letters().decode(answer.ids)


def test_the_tokenizers_stop_ids_are_the_default():
    own, same = (generator().generate(prompts(), SamplingConfig(stop_ids=ids)) for ids in (None, (STOP_ID,)))
    assert [a.ids.tolist() for a in own] == [a.ids.tolist() for a in same]
    assert all(STOP_ID not in a.ids for a in own)


def test_an_answer_is_cut_where_the_context_ends():
    small = generator(max_length=20)
    answers = small.generate([prompt(*range(2, 16)), prompt(5)], SamplingConfig(stop_ids=(39,)))
    assert [len(a.ids) for a in answers] == [5, 18]
    assert {a.finish_reason for a in answers} == {"length"}


def test_text_streams_in_pieces_that_make_the_answer():
    shown = {}

    def on_text(row, text):
        assert text
        shown[row] = shown.get(row, "") + text

    answers = generator().generate(prompts(), SamplingConfig(temperature=2.0, max_new_tokens=12), on_text)
    assert [shown.get(row, "") for row in range(5)] == [a.text for a in answers]


@pytest.mark.parametrize("clips", [(), (0,)])
def test_a_chat_goes_on_where_its_context_agrees(clips):
    mine = generator(max_length=64, seed=1)
    greedy = SamplingConfig(max_new_tokens=7, stop_ids=(39,))
    shown = [clip(i) for i in clips]
    said = []
    for turn in range(3):  # The second and third turns begin with all that was said, the last one with another answer.
        asked = prompt(*shown, *said, 10 + turn, 11)
        (answer,) = mine.generate([asked], greedy, reuse_prefix=True)
        (fresh,) = mine.generate([asked], greedy)
        np.testing.assert_array_equal(answer.ids, fresh.ids)
        said += [10 + turn, 11, *(answer.ids.tolist() if turn != 1 else [20, 21])]


def test_only_what_is_new_is_read(monkeypatch):
    mine = Generator(tiny_hilight.CONFIG, tiny_hilight.params(), Letters(), 64)
    reads, read = [], mine.language_model.read
    monkeypatch.setattr(
        mine.language_model,
        "read",
        lambda ids, video, carried, mask, *rest: reads.append(mask.sum()) or read(ids, video, carried, mask, *rest),
    )
    sampling = SamplingConfig(max_new_tokens=4, stop_ids=(39,))
    first = prompt(clip(0), 7, 8)
    (answer,) = mine.generate([first], sampling, reuse_prefix=True)
    second = first._replace(ids=np.array([*first.ids, *answer.ids, 5], np.int32))
    mine.generate([second], sampling, reuse_prefix=True)
    mine.generate([second], sampling, reuse_prefix=True)
    other = prompt(clip(1), 7, 8)
    mine.generate([other], sampling, reuse_prefix=True)
    # All; the answer's last token, which nothing was predicted from, and the new one; the last one; all but <bos>.
    assert reads == [7, 2, 1, 6]


def test_contributions_are_vectors_times_the_gradient_of_the_log_probability():
    """In the direction of a row's own vector a difference of the log-probability is its contribution."""
    mine, one, answer = generator(max_length=48), prompt(5, clip(0), 7), np.array([9, 3, 9], np.int32)
    own, carried = mine.contributions(one, answer)
    _, embeds = reference(one, answer[:-1])
    config = tiny_hilight.config()
    model, params, n = HiLight(config), variables(tiny_hilight.params(config)), len(one.ids)

    @jax.jit
    def log_prob(scales):
        scores = jax.nn.log_softmax(scores_of(model, params, (embeds * scales[:, None])[None]))
        return scores[jnp.arange(n - 1, n + 2), answer].sum()

    rows, step = np.eye(len(embeds), dtype=np.float32), 1e-2
    found = [abs(log_prob(1 + step * row) - log_prob(1 - step * row)) / (2 * step) for row in rows]
    np.testing.assert_allclose(own, found[:n] / np.sum(found), atol=2e-3)
    assert own.shape == (n,) and 0 < own.sum() < 1 and not carried.any()


def test_a_prefix_that_was_read_does_not_change_contributions():
    mine, one = generator(max_length=48), prompt(5, clip(0), 7)
    answers = (mine.generate([one], SamplingConfig(max_new_tokens=4), reuse_prefix=True)[0] for _ in range(2))
    first, again = (mine.contributions(one, answer.ids)[0] for answer in answers)
    np.testing.assert_array_equal(first, again)


def test_weights_on_a_cpu_are_not_copied():
    wide = dataclasses.replace(tiny_hilight.GEMMA, width=32, mlp_dim=32)
    mining = dataclasses.replace(tiny_hilight.TOKEN_MINING, width_out=32)
    config = tiny_hilight.config(gemma=wide, token_mining=mining)
    params = jax.device_put(tiny_hilight.params(config))
    mine = Generator(config, params, Letters(), 64)
    stacked = params["gemma"]["layers"]["mlp"]["up_proj"]["kernel"]
    part = mine.language_model.variables["params"]["gemma"]["layers_1"]["mlp"]["up_proj"]["kernel"]
    assert part.unsafe_buffer_pointer() == stacked.unsafe_buffer_pointer() + stacked.nbytes // 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "there is no prompt to answer"),
        ([Prompt(np.zeros(0, np.int32))], "prompt 1 is empty"),
        ([prompt(5), prompt(40)], "an id of prompt 2 is 40, but the model's ids are 0 to 39"),
        ([prompt(-7)], "an id of prompt 1 is -7"),
        ([prompt(*range(2, 28), *range(2, 28), *range(2, 28))], "prompt 1 has 79 tokens, 0 of them of its clips, but"),
        ([Prompt(np.full(4, VIDEO_ID, np.int32))], "prompt 1 has 4 rows for clips, but its 0 clips fill 0"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(asked, message):
    with pytest.raises(DataError, match=message):
        generator().generate(asked)


def test_a_clip_that_no_row_shows_is_a_sentence():
    with pytest.raises(
        DataError, match="prompt 1 has 0 rows for clips, but its 1 clips fill 4; give one clip for each"
    ):
        generator().generate([Prompt(np.array([2, 5], np.int32), (clip(0),))])


def test_a_stop_id_that_the_model_has_not_is_a_sentence():
    with pytest.raises(DataError, match="a stop id is 40, but the model's ids are 0 to 39"):
        generator().generate([prompt(5)], SamplingConfig(stop_ids=(40,)))


def test_a_tokenizer_of_another_model_is_a_sentence():
    letters = Letters()
    letters.vocab_size = 41
    with pytest.raises(ConfigError, match="the tokenizer has 41 pieces, but the model has 40; give the tokenizer"):
        Generator(tiny_hilight.CONFIG, tiny_hilight.params(), letters, 64)
