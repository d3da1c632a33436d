"""Word tracks of prompts: the same numbers as in training, at the right rows, in any order of reading."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError, DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.conversations.words import WordFinder, encode_phrases, encode_things
from hilight_jax.generation import phrase_vectors, word_carrier
from hilight_jax.generation.evidence import trace_answer, trace_words
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.generation.zoom import ZOOMS
from hilight_jax.models.clip import normalise
from hilight_jax.models.hilight import HiLight, variables
from hilight_jax.models.word_tracks import WordInputs
from tests.data.conversations.tiny_gemma import TOKENIZER
from tests.models import tiny_hilight as tiny

THINGS = ("the red ball", "the cue ball")
ROWS = tiny.VIDEO_TOKENS + len(THINGS)
CONFIG = dataclasses.replace(tiny.TRACKED, gemma=dataclasses.replace(tiny.GEMMA, vocab_size=TOKENIZER.vocab_size))
PARAMS = tiny.params(CONFIG)
KEYS = np.array([0, 2])
CLIPS = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
GREEDY = SamplingConfig(max_new_tokens=4, stop_ids=())


def make():
    return Generator(CONFIG, PARAMS, TOKENIZER, 256, things=THINGS)


@pytest.fixture(scope="module")
def generator():
    return make()


def ids_of(*turns):
    roles = ("user", "model") * len(turns)
    return expand(prompt_ids([Turn(*turn) for turn in zip(roles, turns, strict=False)], TOKENIZER), None, ROWS)[0]


def prompt(generator, *turns, clips=CLIPS[:1]):
    return Prompt(ids_of(*turns), tuple(generator.encode_clip(clip, KEYS) for clip in clips))


def trained(ids, clips):
    """The scores of the training path for one conversation about these clips."""
    model, params = HiLight(CONFIG), variables(PARAMS)
    towers = model.apply(params, normalise(clips), np.tile(KEYS, (len(clips), 1)), method="encode_video")
    words, things = WordFinder(TOKENIZER, THINGS)(ids), encode_things(THINGS, TOKENIZER)

    def track(phrases, content):
        vectors = model.apply(params, phrases, phrases > 0, content, method="encode_phrases")
        repeated = jnp.broadcast_to(vectors, (len(clips), *vectors.shape))
        return model.apply(params, towers["patch_features"], repeated, method="track")

    of_things, of_words = track(things.phrase_ids, things.content), track(*encode_phrases(words.phrases))
    inputs = WordInputs(
        things.ids[None],
        of_things["tracks"][None],
        of_things["features"][None],
        words.rows[None],
        of_words["tracks"][None],
    )
    features = (towers[name][None] for name in ("clip_tokens", "frame_features"))
    logits = model.apply(
        params, ids[None], np.ones((1, len(ids)), bool), *features, inputs, method="language_model_parts"
    )
    return np.asarray(logits[0, -1])


@pytest.mark.parametrize(
    ("turns", "clips"),
    [
        (("<video>\nDoes the cue ball hit the red ball?",), CLIPS[:1]),
        (("<video>\nIs the red ball there?", "Yes.", "<video>\nAnd the red ball here, or a dog?"), CLIPS),
        (("<video>\n<video>\nIs the red ball in both?",), CLIPS),
    ],
    ids=["one clip", "a clip later", "two clips at once"],
)
def test_chat_reads_what_training_reads(generator, turns, clips):
    found = generator.next_logits([prompt(generator, *turns, clips=clips)])[0]
    np.testing.assert_allclose(found, trained(ids_of(*turns), clips), atol=2e-5)


def test_a_clip_that_comes_later_changes_no_earlier_word(generator):
    turns = ("<video>\nIs the red ball there?", "Yes.", "<video>\nAnd the red ball here?")
    both, first = prompt(generator, *turns, clips=CLIPS), prompt(generator, turns[0])
    early, late = (x[x.any(axis=1)] for x in (generator.words(p.ids, p.clips) for p in (first, both)))
    assert len(late) == 2 * len(early)
    np.testing.assert_array_equal(late[: len(early)], early)
    assert np.abs(late[len(early) :] - early).min() > 1e-6


def test_text_alone_carries_nothing(generator):
    assert not generator.words(ids_of("Is the red ball there?"), ()).any()


def test_an_answer_does_not_depend_on_its_batch_or_on_what_was_read_before(generator):
    turns = ("<video>\nIs the red ball there?", "Yes.", "And the cue ball?")
    prompts = [prompt(generator, *turns), prompt(generator, "Hello the red ball"), prompt(generator, "<video>\nA dog?")]
    prompts[1] = Prompt(prompts[1].ids)
    together = [answer.ids.tolist() for answer in generator.generate(prompts, GREEDY)]
    alone = [generator.generate([one], GREEDY)[0].ids.tolist() for one in prompts]
    assert together == alone
    talk = make()
    talk.generate([prompt(talk, turns[0])], GREEDY, reuse_prefix=True)
    (answer,) = talk.generate([prompt(talk, *turns)], GREEDY, reuse_prefix=True)
    assert answer.ids.tolist() == alone[0]


def test_the_next_turn_is_read_from_the_end_of_the_answer(generator, monkeypatch):
    talk = make()
    reads, read = [], talk.language_model.read
    monkeypatch.setattr(
        talk.language_model,
        "read",
        lambda ids, video, carried, mask, *rest: (
            reads.append(int(mask.sum())) or read(ids, video, carried, mask, *rest)
        ),
    )
    first = prompt(talk, "<video>\nIs the red ball there?")
    (answer,) = talk.generate([first], GREEDY, reuse_prefix=True)
    talk.generate([first._replace(ids=np.append(first.ids, answer.ids).astype(np.int32))], GREEDY, reuse_prefix=True)
    assert reads == [len(first.ids), 1]  # Nothing was predicted from the answer's last token, so it was not read.


def test_a_prefix_in_which_other_words_were_named_is_read_again(generator):
    """The ids of "red" agree, but with "ball" behind it the word is part of another phrase."""
    talk = make()
    first, second = prompt(talk, "<video>\nIs a red dog"), prompt(talk, "<video>\nIs a red ball")
    talk.generate([first], GREEDY, reuse_prefix=True)
    (answer,) = talk.generate([second], GREEDY, reuse_prefix=True)
    assert answer.ids.tolist() == generator.generate([second], GREEDY)[0].ids.tolist()


def test_more_clips_than_words_tell_apart_are_refused(generator):
    with pytest.raises(ConfigError, match="has 3 clips, but the model's words tell 2 apart"):
        generator.words(ids_of("<video><video><video>the red ball"), [generator.encode_clip(CLIPS[0], KEYS)] * 3)


@pytest.mark.parametrize(("config", "things"), [(CONFIG, None), (tiny.CONFIG, THINGS)], ids=["lacking", "surplus"])
def test_things_go_with_word_tracks(config, things):
    config = dataclasses.replace(config, gemma=CONFIG.gemma)
    with pytest.raises(ConfigError, match="word tracks, but its things are"):
        Generator(config, tiny.params(config), TOKENIZER, 64, things=things)


def test_rows_of_things_come_from_their_maps(generator):
    clip = generator.encode_clip(CLIPS[0], KEYS)
    assert clip.tokens.shape == (ROWS, CONFIG.gemma.width)
    assert clip.find(np.ones((2, tiny.WORD_TRACKS.embed_dim), np.float32)).maps.shape == (2, 3, 4)
    np.testing.assert_allclose(clip.attention.sum(1), 1, rtol=1e-5)
    assert not clip.attention[-len(THINGS) :, : tiny.VISION.num_proxy_tokens].any()


def test_words_pass_their_parts_on_to_the_patches_of_their_maps():
    """Row 3 carries one clip; row 5 carries both and gives each a half."""
    weights = np.array([0, 0, 0, 0.2, 0, 0.4])
    one, other = np.array([[1.0, 0.0]]), np.array([[0.25, 0.75]])
    first, second = trace_words(weights, [{3: one, 5: one}, {5: other}], (1, 1, 2))
    np.testing.assert_allclose(first, [[[0.4, 0.0]]])
    np.testing.assert_allclose(second, [[[0.05, 0.15]]])


def test_evidence_adds_up_to_the_parts_of_the_clips_rows_and_of_what_words_carry(generator):
    asked = prompt(generator, "<video>\nIs the red ball left of a dog?")
    answer = np.array([30, 31], np.int32)
    (traced,) = trace_answer(generator, asked, answer)
    own, carried = generator.contributions(asked, answer)
    named = generator.words.names(asked.ids, asked.clips).rows > 0
    assert carried[named].any() and not carried[~named].any()
    assert traced.share == pytest.approx(own[asked.ids == VIDEO_ID].sum() + carried.sum(), rel=1e-4)


def test_vectors_are_kept(generator, monkeypatch):
    words, numbers, carry = make().words, [], word_carrier._carry
    asked = prompt(generator, "<video>\n<video>\nIs the red ball left of a dog?", clips=CLIPS)
    monkeypatch.setattr(
        word_carrier, "_carry", lambda model, number, *rest: numbers.append(number) or carry(model, number, *rest)
    )
    first = words(asked.ids, asked.clips)
    assert numbers == [0, 1]  # Both phrases in one call for each clip.
    np.testing.assert_array_equal(words(asked.ids, asked.clips), first)
    assert numbers == [0, 1]


def test_the_phrase_vectors_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(phrase_vectors, "_KEPT", 2)
    encoded = []

    def encode(ids, content):
        encoded.append(sorted(set(ids[:, 0].tolist())))
        return ids.astype(np.float32)

    def vectors(*ids):
        ids = np.array(ids, np.int32)[:, None]
        return kept(ids, np.ones_like(ids, bool))[:, 0].tolist()

    kept = phrase_vectors.PhraseVectors(encode)
    assert vectors(1, 2) == [1, 2] and vectors(1) == [1] and encoded == [[1, 2]]
    assert vectors(3, 3, 1) == [3, 3, 1] and encoded[1:] == [[3]]
    assert vectors(1, 3) == [1, 3] and len(encoded) == 2
    assert vectors(2, 1, 3) == [2, 1, 3] and encoded[2:] == [[2]]  # More than are kept, each in its place.
    assert len(kept._known) == 2


def closer_clip(clip, zoom):
    """A clip whose own pictures have twice its rows and columns."""
    whole = clip.repeat(2, axis=1).repeat(2, axis=2)
    return VideoClip("a", clip, whole, np.arange(3), 3, np.arange(3) / 10, whole.shape[1:3], whole, zoom)


def test_with_a_zoom_things_and_words_are_found_in_the_pictures(generator):
    plain = generator.encode_clip(CLIPS[0], KEYS)
    closer = generator.encode_clip(CLIPS[0], KEYS, closer_clip(CLIPS[0], 2.0))
    assert (plain.zoom, closer.zoom) == ("off", 2.0) and plain.digest != closer.digest
    mined = tiny.VIDEO_TOKENS
    np.testing.assert_array_equal(closer.tokens[:mined], plain.tokens[:mined])  # These read the frames as before.
    assert np.abs(closer.tokens[mined:] - plain.tokens[mined:]).max() > 1e-4
    np.testing.assert_allclose(closer.attention.sum(1), 1, rtol=1e-5)
    ids = ids_of("<video>\nIs the red ball left of the cue ball?")
    carried = [generator.words(ids, [clip]) for clip in (plain, closer)]
    assert (carried[0].any(axis=1) == carried[1].any(axis=1)).all() and np.abs(carried[0] - carried[1]).max() > 1e-4
    (answer,) = generator.generate([Prompt(ids, (closer,))], GREEDY)
    assert len(answer.ids) == 4
    assert generator.encode_clip(CLIPS[0], KEYS, closer_clip(CLIPS[0], "auto")).zoom in ("off", *ZOOMS)


def test_a_zoom_needs_word_tracks():
    config = dataclasses.replace(tiny.CONFIG, gemma=CONFIG.gemma)
    generator = Generator(config, tiny.params(config), TOKENIZER, 256)
    with pytest.raises(DataError, match="has no word tracks, so a zoom would change nothing"):
        generator.encode_clip(CLIPS[0], KEYS, closer_clip(CLIPS[0], 2.0))
