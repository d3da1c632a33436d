import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import lazy
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import flatten, map_with_path
from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.frame_sampling import KeyFrameConfig, choose_key_frames
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.formats.exporting.huggingface import write_huggingface
from hilight_jax.formats.exporting.lora import write_adapter
from hilight_jax.formats.exporting.quantize import quantize
from hilight_jax.formats.huggingface_names import chat_from_huggingface
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import read_video_clip
from hilight_jax.models.clip import normalise
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.long_clip import FrameTower, LongClip, LongClipConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig
from tests.data.clips import encode
from tests.data.conversations.tiny_gemma import PATH, TOKENIZER
from tests.formats.exporting import chat_directory
from tests.formats.exporting.chat_directory import GEMMA, VIDEO_TOKEN, exported, load, logits, to_torch, write
from tests.models import tiny_hilight, tiny_long_clip

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.torch

COUNTS = (0, 1, 2)
ROWS = tiny_hilight.VIDEO_TOKENS


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The model of most tests, and where it is."""
    model = exported()
    return model, write(model, tmp_path_factory.mktemp("export") / "chat")


def samples(counts=COUNTS, seed=0, length=16):
    """Prompts of no, one and two clips, padded on the left, and their clips."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((len(counts), length), np.int64)
    mask = np.zeros((len(counts), length), bool)
    for i, count in enumerate(counts):
        words = rng.integers(8, 600, 4 + 2 * i).tolist()
        row = words[:2] + [VIDEO_TOKEN] * ROWS * count + words[2:]
        ids[i, length - len(row) :], mask[i, length - len(row) :] = row, True
    video = tiny_hilight.video(len(counts), max(counts), seed)
    return ids, mask, video, rng.integers(0, 3, (*video.shape[:2], tiny_hilight.KEY_FRAMES))


def run(model, ids, mask, clips):
    with torch.no_grad():
        return model(torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64)), **clips).logits.float().numpy()


MODELS = {
    "released": {},
    "frames_through_the_video_tower": {
        "frames": None,
        "token_mining": TokenMiningConfig(tokens_per_frame=2, width_video=16, width_frames=11, width_out=14),
    },
    "transposed": {
        "token_mining": TokenMiningConfig(
            tokens_per_frame=2, expansion="transpose", final_relu=False, width_video=16, width_frames=10, width_out=14
        )
    },
    "options": {
        "token_mining": dataclasses.replace(
            tiny_hilight.TOKEN_MINING, positions=True, num_heads=2, residual=True, final_norm=True
        )
    },
}


@pytest.mark.parametrize("which", MODELS)
def test_logits_are_the_jax_models_for_samples_of_no_one_and_two_clips(which, tmp_path):
    model = exported(**MODELS[which])
    ids, mask, video, key_frames = samples()
    found = run(load(write(model, tmp_path / "x")), ids, mask, to_torch(video, key_frames, COUNTS))
    np.testing.assert_allclose(found[mask], logits(model, ids, mask, video, key_frames)[mask], atol=1e-4)


@pytest.mark.parametrize("structure", ["one_linear", "two_linear"])
def test_the_other_structures_of_token_mining_agree_too(structure, tmp_path):
    mining = TokenMiningConfig(structure, 1, width_video=16, width_frames=10, width_out=14)
    model = exported(token_mining=mining)
    video, key_frames = tiny_hilight.video(1, 1), np.array([[[0, 1]]])
    ids = np.array([[2, 9, VIDEO_TOKEN, VIDEO_TOKEN, 12]])
    found = run(load(write(model, tmp_path / "x")), ids, ids > 0, to_torch(video, key_frames, [1]))
    np.testing.assert_allclose(found, logits(model, ids, ids > 0, video, key_frames), atol=1e-4)


@pytest.mark.parametrize("num_frames", [3, 5])
@pytest.mark.parametrize("pooled", [1, 4])
def test_pooling_on_a_grid_agrees_for_clips_of_any_length(pooled, num_frames, tmp_path):
    options = {"structure": "grid_pooling", "tokens_per_frame": pooled, "positions": True, "residual": True}
    model = exported(token_mining=dataclasses.replace(tiny_hilight.TOKEN_MINING, **options))
    video = np.random.default_rng(3).normal(size=(1, 1, num_frames, 8, 8, 3)).astype(np.float32)
    key_frames = np.array([[[0, 2]]])
    ids = np.array([[2, 9, *[VIDEO_TOKEN] * 2 * pooled, 12]])
    found = run(load(write(model, tmp_path / "x")), ids, ids > 0, to_torch(video, key_frames, [1]))
    np.testing.assert_allclose(found, logits(model, ids, ids > 0, video, key_frames), atol=1e-4)


@pytest.mark.parametrize("act", ["gelu", "gelu_pytorch_tanh", "silu"])
def test_the_stock_language_model_computes_the_same_activation(act, tmp_path):
    gemma = GemmaConfig(**{**vars(GEMMA), "hidden_act": act, "num_heads": 4, "num_kv_heads": 2})
    model = exported(gemma=gemma)
    stock, report = transformers.GemmaForCausalLM.from_pretrained(
        write(model, tmp_path / "x") / "gemma", output_loading_info=True
    )
    assert not any(report.values())
    ids, mask, video, key_frames = samples((0, 0))
    expected = logits(model, ids, mask, np.zeros((2, 1, 3, 8, 8, 3), np.float32), np.zeros((2, 1, 2), np.int32))
    np.testing.assert_allclose(run(stock, ids, mask, {})[mask], expected[mask], atol=1e-4)


def test_clips_of_another_length_are_seen(written):
    model, directory = written
    video = np.random.default_rng(3).normal(size=(1, 1, 5, 8, 8, 3)).astype(np.float32)
    key_frames = np.array([[[1, 4]]])
    ids = np.array([[2, *[VIDEO_TOKEN] * ROWS, 12]])
    found = run(load(directory), ids, ids > 0, to_torch(video, key_frames, [1]))
    np.testing.assert_allclose(found, logits(model, ids, ids > 0, video, key_frames), atol=1e-4)


def greedy(model, prompts, length=32):
    """The answers of our generator: ids of every prompt; no stop token ends an answer."""
    generator = Generator(model.config, model.params, TOKENIZER, 128)
    sampling = SamplingConfig(max_new_tokens=length, stop_ids=(647,))
    return [answer.ids.tolist() for answer in generator.generate(prompts(generator), sampling)]


def pixel_clips(num_clips, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num_clips, 3, 8, 8, 3), np.uint8)


def test_32_greedy_tokens_are_the_same_in_a_batch_of_text_and_clips(written):
    model, directory = written
    ids, mask, _, _ = samples()
    frames, key_frames = pixel_clips(3), np.array([[0, 2], [0, 1], [1, 2]])

    def prompts(generator):
        clips = [generator.encode_clip(*pair) for pair in zip(frames, key_frames, strict=True)]
        rows = [np.where(row[real] == VIDEO_TOKEN, VIDEO_ID, row[real]) for row, real in zip(ids, mask, strict=True)]
        return [Prompt(rows[0], ()), Prompt(rows[1], (clips[0],)), Prompt(rows[2], tuple(clips[1:]))]

    pixels = torch.from_numpy(np.moveaxis(np.asarray(normalise(frames)), -1, 2).copy())
    out = load(directory).generate(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask.astype(np.int64)),
        pixel_values_videos=pixels,
        key_frames=torch.from_numpy(key_frames),
        max_new_tokens=32,
        eos_token_id=647,
    )
    found = [row[: row.index(647)] if 647 in row else row for row in out[:, ids.shape[1] :].tolist()]
    assert found == greedy(model, prompts)


def test_samples_keep_their_clips_when_answers_are_several(written):
    _, directory = written
    model = load(directory)
    ids, mask, video, key_frames = samples((2, 1))
    inputs = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        **to_torch(video, key_frames, (2, 1)),
        "max_new_tokens": 3,
        "eos_token_id": 647,
    }
    alone = model.generate(**inputs)
    twice = model.generate(**inputs, num_beams=2, num_return_sequences=2, output_scores=True)
    assert len(twice) == 4
    expanded = model._expand_inputs_for_generation(
        expand_size=2, **{k: inputs[k] for k in inputs if k != "max_new_tokens"}
    )
    pixels = inputs["pixel_values_videos"]
    torch.testing.assert_close(expanded[1]["pixel_values_videos"], pixels[[0, 1, 0, 1, 2, 2]])
    assert torch.equal(expanded[0], inputs["input_ids"].repeat_interleave(2, 0)) and len(alone) == 2


def test_without_a_cache_the_answer_is_the_same(written):
    model = load(written[1])
    ids, mask, video, key_frames = samples()
    inputs = {"attention_mask": torch.from_numpy(mask.astype(np.int64)), **to_torch(video, key_frames, COUNTS)}
    options = {"max_new_tokens": 5, "eos_token_id": 647}
    ids = torch.from_numpy(ids)
    assert torch.equal(
        model.generate(ids, **inputs, **options), model.generate(ids, **inputs, **options, use_cache=False)
    )


def test_rows_and_clips_that_do_not_fit_are_refused(written):
    model = load(written[1])
    ids, mask, video, key_frames = samples()
    with pytest.raises(ValueError, match="have 12 rows for clips, but 2 clips fill 4 each"):
        run(model, ids, mask, to_torch(video, key_frames, (0, 1, 1)))
    with pytest.raises(ValueError, match="pixel_values_videos are missing"):
        run(model, ids, mask, {})


def test_no_weight_is_stored_twice_and_all_come_back_bit_for_bit(tmp_path):
    model = exported()
    directory = write(model, tmp_path / "x", shard_bytes=20_000)
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert sum(file.startswith("gemma/model-") for file in files) > 1 and any(f.startswith("long_clip/") for f in files)
    assert sorted(files) == sorted(str(path.relative_to(directory)) for path in directory.rglob("*.safetensors"))
    weights = {name: x for file in files for name, x in load_file(directory / file).items()}
    assert set(weights) == set(index["weight_map"])
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in weights.values())
    back = flatten(chat_from_huggingface(weights, model.params))
    for path, x in flatten(model.params).items():
        np.testing.assert_array_equal(back[path], x)
    load(directory)


def test_lazy_weights_are_written_alike(written, tmp_path):
    model, directory = written
    other = exported()
    other = type(other)(
        other.config, map_with_path(lambda _, x: lazy(x), other.params), other.data, other.tokenizer, {}
    )
    write(other, tmp_path / "x")
    for path in directory.rglob("*.safetensors"):
        assert (tmp_path / "x" / path.relative_to(directory)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_weights_stay_as_they_are(name, tmp_path):
    model = exported(dtype=jax.numpy.dtype(name))
    loaded = load(write(model, tmp_path / "x"))
    assert loaded.dtype == getattr(torch, name) and loaded.config.dtype == getattr(torch, name)
    table = loaded.model.embed_tokens.weight.detach().view(torch.int16).numpy()
    np.testing.assert_array_equal(table, np.asarray(model.params["gemma"]["embedder"]["table"]).view(np.int16))
    ids, mask, video, key_frames = samples()
    assert np.isfinite(run(loaded, ids, mask, to_torch(video, key_frames, COUNTS))[mask]).all()


def test_an_adapter_is_not_lost_in_silence(tmp_path):
    model = exported(lora=tiny_hilight.LORA)
    with pytest.raises(CheckpointError, match="the part 'lora' has no form"):
        write_huggingface(model, tmp_path)


def test_a_peft_adapter_gives_the_tuned_models_logits(tmp_path):
    peft = pytest.importorskip("peft")
    model = exported(lora=tiny_hilight.LORA)
    directory = write(model, tmp_path / "x")
    write_adapter(model.params["lora"], tiny_hilight.LORA, directory / "adapter", "..")
    tuned = peft.PeftModel.from_pretrained(load(directory), directory / "adapter").eval()
    ids, mask, video, key_frames = samples()
    clips = to_torch(video, key_frames, COUNTS)
    expected = logits(model, ids, mask, video, key_frames)[mask]
    np.testing.assert_allclose(run(tuned, ids, mask, clips)[mask], expected, atol=1e-4)
    assert np.abs(run(load(directory), ids, mask, clips)[mask] - expected).max() > 1e-2
    wrapped = [name for name, _ in tuned.named_modules() if name.endswith("lora_A")]
    assert len(wrapped) == 7 * GEMMA.depth and all(".model.layers." in name for name in wrapped)


def test_an_adapter_of_some_maps_names_those(tmp_path):
    deltas = {"layers": {"attn": {"q_proj": {"a": np.ones((2, 14, 2)), "b": np.ones((2, 2, 12))}}}}
    write_adapter({"gemma": deltas}, tiny_hilight.LORA, tmp_path / "a")
    values = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert values["target_modules"] == r"model\.layers\.\d+\.(self_attn\.q_proj)"
    assert (values["r"], values["lora_alpha"], values["base_model_name_or_path"]) == (2, 3.0, None)


def test_the_image_tower_is_a_stock_clip(written):
    model, directory = written
    stock, report = transformers.CLIPVisionModelWithProjection.from_pretrained(
        directory / "long_clip", output_loading_info=True
    )
    assert not any(report.values())
    frames = tiny_hilight.video(1, 1)[0, 0]
    with torch.no_grad():
        found = stock(torch.from_numpy(np.moveaxis(frames, -1, 1).copy())).image_embeds
    tower = FrameTower(model.config.frames, model.config.compute)
    expected = tower.apply({"params": model.params["frames"]}, frames)["embeds"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_whole_long_clip_is_a_stock_clip_of_one_position_table(tmp_path):
    config = LongClipConfig(
        tiny_hilight.FRAMES,
        # Heads as wide as the image tower's; position 20 is the first of the second table.
        type(tiny_long_clip.TEXT)(
            vocab_size=50, max_length=24, kept_positions=20, width=12, depth=1, num_heads=3, mlp_dim=20, embed_dim=10
        ),
    )
    rng = np.random.default_rng(1)
    tree = map_with_path(
        lambda path, x: (0.3 * rng.standard_normal(x.shape) + ("scale" in path)).astype(np.float32),
        tiny_long_clip.shapes(config),
    )
    model = exported(extra={"long_clip": {name: part for name, part in tree.items() if name != "frames"}})
    directory = write(model, tmp_path / "x")
    load(directory)
    stock, report = transformers.CLIPModel.from_pretrained(directory / "long_clip", output_loading_info=True)
    assert not any(report.values())
    ids = rng.integers(3, 48, (2, 24))
    ids[0, 5], ids[1, 23] = 49, 49  # The end of text is the largest id.
    stock.text_model.eos_token_id = 49
    with torch.no_grad():
        found = stock.text_model(torch.from_numpy(ids)).pooler_output
        found = stock.text_projection(found)
    expected = LongClip(config).apply({"params": tree}, ids, method="encode_text")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory / "long_clip")
    assert tokenizer("the red ball").input_ids == ClipTokenizer(24)("the red ball").ids[:5].tolist()
    assert stock.logit_scale.item() == pytest.approx(float(tree["logit_scale"]))


def test_the_stock_clip_squeezes_images_as_we_do(written):
    processor = transformers.AutoImageProcessor.from_pretrained(written[1] / "long_clip")
    image = np.random.default_rng(2).integers(0, 256, (1, 20, 30, 3), np.uint8)
    found = processor(transformers.image_utils.PIL.Image.fromarray(image[0]), return_tensors="np")["pixel_values"]
    expected = np.moveaxis(np.asarray(normalise(to_uint8_size(image, (8, 8)))), -1, 1)
    np.testing.assert_allclose(found, expected, atol=2 / 255 / 0.26)  # PIL rounds between rows and columns.


def hugging(turns):
    """Turns as messages: a ``<video>`` mark in the first place of a turn as content of its own."""
    messages = []
    for role, text in turns:
        content = text
        if text.startswith("<video>"):
            content = [{"type": "video"}, {"type": "text", "text": text.removeprefix("<video>")}]
        messages.append({"role": {"model": "assistant"}.get(role, role), "content": content})
    return messages


CONVERSATIONS = [
    [("user", "Who wins?")],
    [("user", "<video>Who wins?")],
    [("user", "Who <video> wins?  ")],
    [("user", "<video>\n<video>\nWhich is longer?")],
    [("user", "<video>Who?"), ("model", "The red one."), ("user", "And here? <video>")],
    [("user", "Who?"), ("model", "See <video>."), ("user", "  spaces stay  ")],
    [("model", "I begin."), ("user", "<video>"), ("model", ""), ("user", "Go on\n\n")],
]


@pytest.mark.parametrize("turns", CONVERSATIONS)
def test_the_chat_template_gives_our_ids(turns, written):
    processor = transformers.AutoProcessor.from_pretrained(written[1], trust_remote_code=True)
    expected = prompt_ids([Turn(*turn) for turn in turns], TOKENIZER)
    text = processor.apply_chat_template(hugging(turns), add_generation_prompt=True)
    ids = processor.tokenizer(text, add_special_tokens=False).input_ids
    assert ids == np.where(expected == VIDEO_ID, VIDEO_TOKEN, expected).tolist()
    assert processor.tokenizer.apply_chat_template(hugging(turns), add_generation_prompt=True).input_ids == ids


@pytest.mark.parametrize("turns", [[("user", "a"), ("user", "b")], [("system", "a"), ("user", "b")]])
def test_turns_that_do_not_alternate_are_refused(turns, written):
    processor = transformers.AutoProcessor.from_pretrained(written[1], trust_remote_code=True)
    with pytest.raises(Exception, match="the turns alternate, the user's first"):
        processor.apply_chat_template(hugging(turns), add_generation_prompt=True)


@pytest.fixture
def film(tmp_path):
    """A file of seven frames of another shape."""
    frames = np.random.default_rng(5).integers(0, 256, (7, 24, 40, 3), np.uint8)
    path = tmp_path / "film.mp4"
    encode(frames, path=path)
    return path


def test_from_a_video_file_to_the_answer(written, film):
    model, directory = written
    processor = transformers.AutoProcessor.from_pretrained(directory, trust_remote_code=True)
    content = [{"type": "video", "path": str(film)}, {"type": "text", "text": "What is this?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    frames = read_video_clip(film, model.data.num_frames, model.data.image_size).frames
    pixels = np.moveaxis(inputs["pixel_values_videos"][0].numpy(), 1, -1)
    np.testing.assert_allclose(pixels, normalise(frames), atol=1e-6)
    key_frames = choose_key_frames(model.data.key_frames, frames)
    assert inputs["key_frames"].tolist() == [key_frames.tolist()]
    ids = expand(prompt_ids([Turn("user", "<video>\nWhat is this?")], TOKENIZER), None, ROWS)[0]
    assert inputs["input_ids"].tolist() == [np.where(ids == VIDEO_ID, VIDEO_TOKEN, ids).tolist()]
    out = load(directory).generate(**inputs, max_new_tokens=32, eos_token_id=647)[0, len(ids) :].tolist()
    out = out[: out.index(647)] if 647 in out else out
    assert [out] == greedy(model, lambda generator: [Prompt(ids, (generator.encode_clip(frames, key_frames),))])
    assert processor.decode(out, skip_special_tokens=True) == TOKENIZER.decode(out)


@pytest.mark.parametrize(
    "key_frames",
    [
        KeyFrameConfig(count=5),
        KeyFrameConfig("explicit", 2, (0, 2)),
        *(KeyFrameConfig("content", n) for n in (1, 2, 3)),
    ],
)
def test_every_rule_of_key_frames_is_followed(key_frames, tmp_path):
    data = type(chat_directory.DATA)(
        **{**vars(chat_directory.DATA), "key_frames": key_frames, "num_video_tokens": 2 * key_frames.count}
    )
    directory = write(exported(data=data), tmp_path / "x")
    processor = transformers.AutoProcessor.from_pretrained(directory, trust_remote_code=True)
    for seed in range(5):
        (clip,) = pixel_clips(1, seed)
        found = processor(videos=[clip])["key_frames"]
        assert found.tolist() == [choose_key_frames(key_frames, clip).tolist()]


def test_clips_come_as_files_bytes_arrays_and_pictures_alone_or_by_text(written, film):
    processor = transformers.AutoProcessor.from_pretrained(written[1], trust_remote_code=True)
    frames = pixel_clips(2)
    pictures = [transformers.image_utils.PIL.Image.fromarray(frame) for frame in frames[0]]
    one = processor(videos=frames[0])["pixel_values_videos"]
    for videos in ([frames[0]], pictures, [pictures], [[frames[0]], []], torch.from_numpy(frames[:1])):
        np.testing.assert_array_equal(processor(videos=videos)["pixel_values_videos"], one)
    from_file = processor(videos=film)["pixel_values_videos"]
    np.testing.assert_array_equal(processor(videos=[film.read_bytes()])["pixel_values_videos"], from_file)
    both = processor(["<video>a", "b"], [[frames[0]], []], return_tensors="pt")
    assert both["input_ids"].shape[0] == 2 and both["pixel_values_videos"].shape == (1, 3, 3, 8, 8)
    assert (both["input_ids"] == VIDEO_TOKEN).sum(1).tolist() == [ROWS, 0] and both["attention_mask"][1, 0] == 0


def test_clips_that_cannot_be_are_refused(written, tmp_path):
    processor = transformers.AutoProcessor.from_pretrained(written[1], trust_remote_code=True)
    with pytest.raises(ValueError, match="2 <video> marks for 1 clips"):
        processor("<video><video>", pixel_clips(1))
    with pytest.raises(ValueError, match="must be uint8"):
        processor(videos=np.zeros((2, 8, 8, 3)))
    (tmp_path / "a.mp4").write_bytes(b"no film")
    with pytest.raises(ValueError, match=r"a\.mp4 is not a readable video"):
        processor(videos=str(tmp_path / "a.mp4"))


def test_the_directory_saves_itself_again(written, tmp_path):
    model, directory = written
    load(directory).save_pretrained(tmp_path / "x")
    transformers.AutoProcessor.from_pretrained(directory, trust_remote_code=True).save_pretrained(tmp_path / "x")
    ids, mask, video, key_frames = samples()
    clips = to_torch(video, key_frames, COUNTS)
    np.testing.assert_array_equal(run(load(tmp_path / "x"), ids, mask, clips), run(load(directory), ids, mask, clips))
    again = transformers.AutoProcessor.from_pretrained(tmp_path / "x", trust_remote_code=True)
    assert again.num_video_rows == ROWS and again.chat_template is not None


def test_stop_ids_and_length_are_written(written):
    config = transformers.GenerationConfig.from_pretrained(written[1])
    assert config.eos_token_id == list(GemmaTokenizer(PATH).stop_ids) and config.max_new_tokens == 64
    assert not config.do_sample and pathlib.Path(written[1] / "gemma" / "tokenizer.json").is_file()


def whole(tree):
    """A quantized tree's arrays: values times scales."""
    if isinstance(tree, dict) and set(tree) == {"int8", "scale"}:
        return np.asarray(tree["int8"]) * np.asarray(tree["scale"])
    return {name: whole(part) for name, part in tree.items()} if isinstance(tree, dict) else np.asarray(tree)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_8_bits_compute_what_the_rounded_weights_do(dtype, tmp_path):
    model = exported(dtype=jax.numpy.dtype(dtype))
    directory = write(model, tmp_path / "x", quantized=quantize(model.params))
    assert not (directory / "gemma").exists() and (directory / "language.safetensors").is_file()
    loaded = load(directory)
    assert loaded.dtype == getattr(torch, dtype)
    attention, table = loaded.model.layers[0].self_attn, loaded.model.embed_tokens
    assert attention.q_proj.weight.dtype == table.weight.dtype == torch.int8
    rounded = whole(quantize(model.params).params)
    expected = rounded["gemma"]["layers"]["attn"]["q_proj"]["kernel"][0].T
    np.testing.assert_array_equal(attention.q_proj.weight * attention.q_proj.scale.float()[:, None], expected)
    np.testing.assert_array_equal(
        table.scale.numpy(), quantize(model.params).params["gemma"]["embedder"]["table"]["scale"].read()[:, 0]
    )
    ids, mask, video, key_frames = samples()
    found = run(loaded, ids, mask, to_torch(video, key_frames, COUNTS))[mask]
    rounded = exported().__class__(model.config, rounded, model.data, model.tokenizer)
    expected = logits(rounded, ids, mask, video, key_frames)[mask]
    np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == "float32" else 0.05 * np.abs(expected).max())
    out = loaded.generate(
        torch.from_numpy(ids[:1]), attention_mask=torch.from_numpy(mask[:1].astype(np.int64)), max_new_tokens=3
    )
    assert out.shape[1] > ids.shape[1]


def test_weights_in_8_bits_come_back(tmp_path):
    model = exported()
    quantized = quantize(model.params)
    directory = write(model, tmp_path / "x", quantized=quantized)
    places = json.loads((directory / "model.safetensors.index.json").read_text())["weight_map"]
    weights = {name: x for file in set(places.values()) for name, x in load_file(directory / file).items()}
    expected = quantize(model.params).params
    back = flatten(chat_from_huggingface(weights, expected))
    for path, x in flatten(whole_pairs(expected)).items():
        np.testing.assert_array_equal(back[path], x)
    assert quantized.errors()["worst"] < 0.02


def whole_pairs(tree):
    """All arrays of a tree, read."""
    return map_with_path(lambda _, x: np.asarray(x), tree)
