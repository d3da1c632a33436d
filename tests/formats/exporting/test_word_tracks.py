"""Exports of models with word tracks: the same logits and answers as the trained model's."""

import dataclasses
import json
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import flatten
from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.conversations.words import WordFinder
from hilight_jax.formats.exporting.lora import write_adapter
from hilight_jax.formats.exporting.quantize import quantize
from hilight_jax.formats.exporting.stablehlo import write_stablehlo
from hilight_jax.formats.exporting.stablehlo_loader import Model
from hilight_jax.formats.huggingface_names import chat_from_huggingface
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from tests.data.clips import encode
from tests.data.conversations.tiny_gemma import TOKENIZER
from tests.formats.exporting.chat_directory import THINGS, TRACKED_DATA, VIDEO_TOKEN, load, tracked, write
from tests.formats.exporting.test_stablehlo import PROGRAM, widened
from tests.models import tiny_hilight

LENGTH = 32
ROWS = TRACKED_DATA.num_video_tokens
KEYS = np.array([0, 2], np.int32)
CLIPS = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
# Conversations, and the numbers of their clips: text alone, one clip, words before and after a second one.
TALKS = [
    (("Is the red ball there?",), ()),
    (("<video>\nDoes the cue ball hit the red ball or a wooden table?",), (0,)),
    (("<video>\nIs the red ball there?", "Yes.", "<video>\nAnd the red ball here, or a dog?"), (1, 0)),
]


def turns_of(texts):
    return [Turn(*turn) for turn in zip(("user", "model") * 2, texts, strict=False)]


def ids_of(texts):
    return expand(prompt_ids(turns_of(texts), TOKENIZER), None, ROWS)[0]


def expected(model, params=None, talks=TALKS):
    """Scores of the next token and answers of ``LENGTH`` ids, of the trained model."""
    generator = Generator(model.config, model.params if params is None else params, TOKENIZER, 256, things=THINGS)
    clips = [generator.encode_clip(clip, KEYS) for clip in CLIPS]
    prompts = [Prompt(ids_of(texts), tuple(clips[i] for i in some)) for texts, some in talks]
    sampling = SamplingConfig(max_new_tokens=LENGTH, stop_ids=())
    answers = [answer.ids.tolist() for answer in generator.generate(prompts, sampling)]
    return generator.next_logits(prompts), answers


@pytest.fixture(scope="module")
def trained():
    """The model of most tests, and what it computes."""
    model = tracked()
    return model, *expected(model)


def test_programs_find_the_words_without_this_package(trained, tmp_path):
    model, logits, answers = trained
    write_stablehlo(model, tmp_path)
    arrays = {"clips": CLIPS, "key_frames": KEYS} | {f"ids_{i}": ids_of(texts) for i, (texts, _) in enumerate(TALKS)}
    save_file(arrays, tmp_path / "given.safetensors")
    batches = {"all": [(i, list(some)) for i, (_, some) in enumerate(TALKS)]}
    files = [str(tmp_path), *(str(tmp_path / f"{name}.safetensors") for name in ("given", "result"))]
    program = PROGRAM.replace('given["key_frames"])["video_tokens"]', 'given["key_frames"])').replace(
        "np.stack(rows)", 'np.stack([row["video_tokens"] for row in rows])'
    )
    subprocess.run([sys.executable, "-I", "-c", program, *files, json.dumps(batches), str(LENGTH)], check=True)
    found = load_file(tmp_path / "result.safetensors")
    np.testing.assert_allclose(found["all_logits"], logits, atol=1e-4)
    assert found["all_answers"].tolist() == answers


@pytest.mark.slow
def test_half_precision_programs_carry_words_too(tmp_path):
    model = tracked(dtype="bfloat16")
    write_stablehlo(model, tmp_path)
    loaded = Model(tmp_path)
    shown = loaded.encode("encode_video", CLIPS[0], KEYS)
    assert shown["video_tokens"].shape == (ROWS, 14) and shown["patch_features"].dtype == np.float32
    ids = ids_of(TALKS[1][0])
    named = WordFinder(TOKENIZER, THINGS)(ids).rows > 0
    assert named.any() and loaded.words(ids, [shown], 14).any(axis=1).tolist() == named.tolist()
    with pytest.raises(ValueError, match="a prompt has 3 clips, but words tell 2 apart"):
        loaded.words([2], [shown] * 3, 14)


@pytest.mark.slow
def test_rows_of_things_in_8_bits_are_made_of_the_rounded_embeddings(tmp_path):
    model = tracked()
    write_stablehlo(model, tmp_path, quantized=True)
    rows = Model(tmp_path).encode("encode_video", CLIPS[0], KEYS)["video_tokens"]
    generator = Generator(model.config, widened(model.params), TOKENIZER, 256, things=THINGS)
    np.testing.assert_allclose(rows, generator.encode_clip(CLIPS[0], KEYS).tokens, atol=1e-5)


def hugging(processor, talks=TALKS):
    """The inputs of conversations as the processor's plain call makes them."""
    messages = []
    for texts, _ in talks:
        turns = [(role, text.partition("<video>\n")) for role, text in turns_of(texts)]
        messages.append(
            [
                {
                    "role": {"model": "assistant"}.get(role, role),
                    "content": [*([{"type": "video"}] if mark else ()), {"type": "text", "text": before or after}],
                }
                for role, (before, mark, after) in turns
            ]
        )
    texts = [processor.apply_chat_template(one, add_generation_prompt=True) for one in messages]
    videos = [CLIPS[i] for _, some in talks for i in some]
    return processor(texts, videos or None, return_tensors="pt", add_special_tokens=False)


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    """The torch model, its processor, and where both are."""
    transformers = pytest.importorskip("transformers")
    directory = write(trained[0], tmp_path_factory.mktemp("export") / "chat")
    return load(directory), transformers.AutoProcessor.from_pretrained(directory, trust_remote_code=True), directory


def run(model, inputs):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        return model(**inputs).logits[:, -1].float().numpy()


def answers_of(model, inputs, **options):
    found = model.generate(**inputs, max_new_tokens=LENGTH, eos_token_id=None, pad_token_id=0, **options)
    return found[:, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.torch
def test_transformers_gives_the_trained_models_logits_and_answers_from_the_plain_call(trained, written):
    _, logits, answers = trained
    model, processor, _ = written
    model.generation_config.eos_token_id = None
    inputs = hugging(processor)
    ids = np.where(inputs["input_ids"][1] == VIDEO_TOKEN, VIDEO_ID, inputs["input_ids"][1])
    assert ids[-len(ids_of(TALKS[1][0])) :].tolist() == ids_of(TALKS[1][0]).tolist()
    np.testing.assert_allclose(run(model, inputs), logits, atol=1e-4)
    assert answers_of(model, inputs) == answers
    assert answers_of(model, inputs, use_cache=False) == answers
    silent = inputs | {"word_rows": inputs["word_rows"] * 0}
    assert (np.abs(run(model, silent) - logits).max(axis=1)[1:] > 1e-2).all()


@pytest.mark.torch
def test_a_video_file_and_a_question_are_enough(written, tmp_path):
    model, processor, _ = written
    encode(np.repeat(CLIPS[0], 2, axis=0).repeat(4, axis=1).repeat(4, axis=2), path=tmp_path / "film.mp4")
    content = [
        {"type": "video", "path": str(tmp_path / "film.mp4")},
        {"type": "text", "text": "Is the red ball there?"},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    ids = ids_of(("<video>\nIs the red ball there?",))
    assert inputs["word_rows"].tolist() == [WordFinder(TOKENIZER, THINGS)(ids).rows.tolist()]
    assert inputs["word_rows"].any() and model.generate(**inputs, max_new_tokens=2).shape[0] == 1


@pytest.mark.torch
def test_text_alone_needs_no_words(trained, written):
    model, processor, _ = written
    inputs = hugging(processor, TALKS[:1])
    assert set(inputs) == {"input_ids", "attention_mask"}
    np.testing.assert_allclose(run(model, inputs), trained[1][:1], atol=1e-4)


@pytest.mark.torch
def test_several_answers_keep_their_clips_and_phrases(written):
    torch = pytest.importorskip("torch")
    model, processor, _ = written
    inputs = hugging(processor)
    ids, expanded = model._expand_inputs_for_generation(expand_size=2, **inputs)
    assert torch.equal(ids, inputs["input_ids"].repeat_interleave(2, 0))
    assert torch.equal(expanded["word_rows"], inputs["word_rows"].repeat_interleave(2, 0))
    assert torch.equal(expanded["phrase_ids"], inputs["phrase_ids"])
    twice = run(model, {"input_ids": ids, **expanded})
    np.testing.assert_allclose(twice, np.repeat(run(model, inputs), 2, axis=0), atol=1e-5)


@pytest.mark.torch
def test_inputs_without_words_or_of_other_clips_are_refused(written):
    model, processor, _ = written
    inputs = hugging(processor, TALKS[1:2])
    bare = {name: x for name, x in inputs.items() if name not in ("word_rows", "phrase_ids", "phrase_content")}
    with pytest.raises(ValueError, match=r"take the inputs from the processor, or these from processor\.find_words"):
        run(model, bare)
    found = processor.find_words(inputs["input_ids"].tolist())
    assert found["word_rows"] == inputs["word_rows"].tolist()
    assert processor.find_words(inputs["input_ids"][0])["word_rows"] == found["word_rows"][0]
    short = inputs | {
        "pixel_values_videos": inputs["pixel_values_videos"][:, :2],
        "key_frames": inputs["key_frames"] * 0,
    }
    with pytest.raises(ValueError, match="clips have 2 frames, but tracks of words are read over 3"):
        run(model, short)
    three = processor(["<start_of_turn>user\n<video><video><video>the red ball"], [CLIPS[0]] * 3, return_tensors="pt")
    with pytest.raises(ValueError, match="a conversation has 3 clips, but words tell 2 apart"):
        run(model, three)


@pytest.mark.torch
def test_the_directory_saves_itself_again_with_the_words(written, tmp_path):
    transformers = pytest.importorskip("transformers")
    model, processor, _ = written
    model.save_pretrained(tmp_path / "x")
    processor.save_pretrained(tmp_path / "x")
    again = transformers.AutoProcessor.from_pretrained(tmp_path / "x", trust_remote_code=True)
    inputs = hugging(again)
    np.testing.assert_array_equal(run(load(tmp_path / "x"), inputs), run(model, hugging(processor)))


@pytest.mark.torch
def test_8_bits_and_an_adapter_go_with_words(trained, tmp_path):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    model = trained[0]
    packed = load(write(model, tmp_path / "8", quantized=quantize(model.params)))
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "8", trust_remote_code=True)
    logits, _ = expected(model, widened(model.params))
    np.testing.assert_allclose(run(packed, hugging(processor)), logits, atol=1e-4)
    tuned = tracked(lora=tiny_hilight.LORA)
    directory = write(tuned, tmp_path / "x")
    write_adapter(tuned.params["lora"], tiny_hilight.LORA, directory / "adapter", "..")
    loaded = peft.PeftModel.from_pretrained(load(directory), directory / "adapter").eval()
    np.testing.assert_allclose(run(loaded, hugging(processor)), expected(tuned)[0], atol=1e-4)


def test_weights_come_back_bit_for_bit(tmp_path):
    model = tracked()
    directory = write(model, tmp_path / "x")
    places = json.loads((directory / "model.safetensors.index.json").read_text())["weight_map"]
    assert places["word_tracks.word_mlp.fc1.weight"] == "words.safetensors"
    weights = {name: x for file in set(places.values()) for name, x in load_file(directory / file).items()}
    back = flatten(chat_from_huggingface(weights, model.params))
    for path, x in flatten(model.params).items():
        np.testing.assert_array_equal(back[path], x)
    without = {name: tree for name, tree in model.params.items() if name != "word_tracks"}
    with pytest.raises(CheckpointError, match=r"'word_tracks\.\w+.* is not part of this model"):
        chat_from_huggingface(weights, without)


def test_a_list_without_things_has_no_rows_of_things(tmp_path):
    data = dataclasses.replace(TRACKED_DATA, things=(), num_video_tokens=tiny_hilight.VIDEO_TOKENS)
    model = tracked(data=data)
    write_stablehlo(model, tmp_path)
    program = jax.export.deserialize(bytearray((tmp_path / "encode_video.stablehlo").read_bytes()))
    patches, rows = (x.shape[1:] for x in program.out_avals)
    assert (patches, rows) == ((3, 4, tiny_hilight.WORD_TRACKS.embed_dim), (tiny_hilight.VIDEO_TOKENS, 14))
