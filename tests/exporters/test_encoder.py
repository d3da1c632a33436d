import dataclasses
import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.checkpoints.foreign import open_foreign
from hilight_jax.core.trees import flatten, unflatten
from hilight_jax.data.config import DataConfig
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.exporters.clip_tokenizer_json import clip_tokenizer
from hilight_jax.exporters.encoder import write_encoder
from hilight_jax.exporters.exported import ExportedEncoder
from hilight_jax.models import video_text
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.video_text import DualEncoder, DualEncoderConfig
from tests.importers import checkpoints

SMALL = DualEncoderConfig(
    vision=VisionConfig(image_size=32, patch_size=8, width=24, depth=3, num_heads=3, mlp_dim=40, num_frames=4),
    text=TextConfig(vocab_size=60, max_length=16, width=16, depth=2, num_heads=2, mlp_dim=24),
    embed_dim=20,
)
HEADS = {
    "none": LocalHeadsConfig(levels=()),
    "last": LocalHeadsConfig(),
    "embedding": LocalHeadsConfig(levels=("embedding",), head="mlp"),
    "both": LocalHeadsConfig(levels=("embedding", "last"), text_side="embedding", center_video=True),
    "all": LocalHeadsConfig(levels=("all",), center_video=True),
}


def exported(directory, config, similarity="cosine", length=16):
    params = checkpoints.random(video_text.param_shapes(config), 7)
    side, frames = config.vision.image_size, config.vision.num_frames
    data = DataConfig(num_frames=frames, image_size=side, text_length=length)
    model = ExportedEncoder(config, params, data, similarity)
    return model, write_encoder(model, directory)


def on_torch(directory):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoModel.from_pretrained(directory / "huggingface", trust_remote_code=True).eval()


def inputs(shape, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 58, (2, 9)).astype(np.int32)
    ids[0, 6], ids[0, 7:], ids[1, 8] = 59, 0, 59
    return rng.standard_normal(shape).astype(np.float32), ids, ids > 0


@pytest.mark.torch
@pytest.mark.parametrize(
    ("heads", "shape"),
    [
        ("none", (2, 4, 32, 32, 3)),
        ("last", (2, 4, 32, 32, 3)),
        ("embedding", (2, 4, 32, 32, 3)),
        ("both", (2, 7, 32, 32, 3)),
        ("all", (2, 1, 64, 16, 3)),
        ("last", (1, 3, 16, 64, 3)),
    ],
    ids=["no heads", "last", "mlp at the embeddings", "longer clips", "one tall frame", "shorter, wide clips"],
)
def test_torch_gives_every_output_of_jax(tmp_path, heads, shape):
    torch = pytest.importorskip("torch")
    config = dataclasses.replace(SMALL, local=HEADS[heads])
    model, _ = exported(tmp_path, config)
    theirs = on_torch(tmp_path)
    video, ids, mask = inputs(shape)
    ids, mask = ids[: len(video)], mask[: len(video)]
    pixels = torch.tensor(np.moveaxis(video, -1, 2))
    words, shown = torch.tensor(ids).long(), torch.tensor(mask).long()
    with torch.no_grad():
        out = theirs(pixel_values_videos=pixels, input_ids=words, attention_mask=shown)
        tokens, _, states = theirs.vision_model(pixels)
        local = theirs.get_local_features(pixels, words, shown)
        maps = theirs.word_maps(pixels, words, shown)
    ours = DualEncoder(config).apply({"params": model.params}, jnp.asarray(video), ids, mask, hidden_states=True)
    near = {"atol": 1e-5, "rtol": 1e-5}
    np.testing.assert_allclose(out.video_embeds, ours["video_embeds"], **near)
    np.testing.assert_allclose(out.text_embeds, ours["text_embeds"], **near)
    logits = np.exp(model.params["logit_scale"]) * ours["video_embeds"] @ ours["text_embeds"].T
    np.testing.assert_allclose(out.logits_per_video, logits, **near)
    np.testing.assert_allclose(tokens, ours["video_tokens"], **near)
    for mine, other in zip(ours["video_hidden_states"], states, strict=True):
        np.testing.assert_allclose(other, mine, **near)
    for side, found in zip(("video_local", "text_local"), local, strict=True):
        assert len(found) == len(ours[side])
        for mine, other in zip(ours[side], found, strict=True):
            np.testing.assert_allclose(other, mine, **near)
    expected = 0
    for weight, patches, texts in zip(config.map_weights, ours["video_local"], ours["text_local"], strict=True):
        patches, texts = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (patches, texts))
        expected = expected + weight * np.einsum("ble,bfpe->blfp", texts, patches)
    np.testing.assert_allclose(maps, expected, **near)


@pytest.mark.torch
def test_words_are_compared_as_they_were_in_training(tmp_path):
    torch = pytest.importorskip("torch")
    config = dataclasses.replace(SMALL, local=HEADS["last"])
    model, _ = exported(tmp_path, config, "dot")
    video, ids, mask = inputs((2, 4, 32, 32, 3))
    with torch.no_grad():
        maps = on_torch(tmp_path).word_maps(
            torch.tensor(np.moveaxis(video, -1, 2)), torch.tensor(ids).long(), torch.tensor(mask).long()
        )
    ours = DualEncoder(config).apply({"params": model.params}, jnp.asarray(video), ids, mask)
    expected = np.einsum("ble,bfpe->blfp", ours["text_local"][0], ours["video_local"][0])
    np.testing.assert_allclose(maps, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.torch
def test_frames_of_other_patches_are_refused_with_a_sentence(tmp_path):
    torch = pytest.importorskip("torch")
    exported(tmp_path, SMALL)
    with pytest.raises(ValueError, match="have 20 patches, but this tower takes 16; resize them"):
        on_torch(tmp_path).get_video_features(torch.zeros(1, 2, 3, 32, 40))


@pytest.mark.torch
def test_the_original_names_hold_the_same_numbers_without_the_local_heads(tmp_path):
    torch = pytest.importorskip("torch")
    model, limits = exported(tmp_path, SMALL)
    found = torch.load(tmp_path / "original" / "clip_vip.pt", weights_only=True, mmap=True)
    assert all(name.startswith("clipmodel.") for name in found) and not any("local" in name for name in found)
    kernel = model.params["visual_projection"]["kernel"]
    np.testing.assert_array_equal(found["clipmodel.visual_projection.weight"].numpy(), kernel.T)
    assert "leaves the local heads out" in limits[0]
    other = open_foreign(tmp_path / "huggingface").weights
    assert {name for name in other if name.startswith("local.")} == {
        "local.scale",
        "local.video_0.weight",
        "local.text_0.weight",
    }


def test_it_is_written_without_torch_in_every_dtype(tmp_path, monkeypatch):
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    params = checkpoints.random(video_text.param_shapes(SMALL), 7)
    for dtype in ("float16", "bfloat16"):
        cast = {path: x.astype(dtype) for path, x in flatten(params).items()}
        model = ExportedEncoder(SMALL, unflatten(cast), DataConfig(num_frames=4, image_size=32, text_length=16))
        (tmp_path / dtype).mkdir()
        write_encoder(model, tmp_path / dtype)
        weights = open_foreign(tmp_path / dtype / "huggingface").weights
        assert {x.dtype.name for x in weights.values()} == {dtype}


TEXTS = (
    "a red ball", "The CUE ball  hits the 8-ball!", "it's Ronnie's 147 (maximum)", "naïve café – 75½%", "“quotes” …",
    "日本語のテキスト", "a\tb\nc", "emoji 🎱🎱", "x" * 200, "don't we'll I'd they're", "<|endoftext|> inside",
    "", "3.14159", "it’s ‘so’", "word " * 60, "MiXeD CaSe and_underscores", "a.b,c;d:e", "½ ² ³", "'s 't",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_gives_our_ids(text):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_str(json.dumps(clip_tokenizer()))
    ours = ClipTokenizer(512)(text)
    assert theirs.encode(text).ids == ours.ids[ours.mask].tolist()


@pytest.mark.torch
def test_the_processor_makes_our_inputs(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = dataclasses.replace(SMALL, text=TextConfig(49408, 16, 16, 2, 2, 24))
    exported(tmp_path, config, length=12)
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "huggingface", trust_remote_code=True)
    clip = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    texts = ["a red ball", "word " * 60]
    found = processor(text=texts, videos=[clip], return_tensors="np")
    ours = [ClipTokenizer(12)(text) for text in texts]
    np.testing.assert_array_equal(found["input_ids"], [tokens.ids for tokens in ours])
    np.testing.assert_array_equal(found["attention_mask"], [tokens.mask for tokens in ours])
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    expected = np.moveaxis((clip[[0, 2, 5, 8]] / 255 - mean) / std, -1, 1)
    np.testing.assert_allclose(found["pixel_values_videos"][0], expected, atol=1e-5)
