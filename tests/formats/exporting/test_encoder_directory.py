import dataclasses
import functools
import json
import sys

import jax
import numpy as np
import pytest

from hilight_jax.core.config import to_dict
from hilight_jax.core.trees import flatten, unflatten
from hilight_jax.data.config import DataConfig
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.exporting.clip_tokenizer_json import clip_tokenizer
from hilight_jax.formats.exporting.encoder_directory import write_encoder
from hilight_jax.formats.exporting.exported_model import ExportedEncoder
from hilight_jax.formats.importing.kinds import ImportOptions, import_as
from hilight_jax.formats.importing.own_exports import RECORD, import_exported
from hilight_jax.models import video_text
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.video_text import DualEncoder, DualEncoderConfig
from tests.formats.importing import checkpoints

SMALL = DualEncoderConfig(
    vision=VisionConfig(image_size=32, patch_size=8, width=24, depth=3, num_heads=3, mlp_dim=40, num_frames=4),
    text=TextConfig(vocab_size=60, max_length=16, width=16, depth=2, num_heads=2, mlp_dim=24),
    embed_dim=20,
)
DEEP_TEXT = dataclasses.replace(SMALL.text, depth=4)
HEADS = {
    "none": LocalHeadsConfig(levels=()),
    "last": LocalHeadsConfig(),
    "centred": LocalHeadsConfig(levels=("last",), center_video=True),
    "embedding": LocalHeadsConfig(levels=("embedding",), head="mlp"),
    "both": LocalHeadsConfig(levels=("embedding", "last"), text_side="embedding", center_video=True),
    "all": LocalHeadsConfig(levels=("all",), center_video=True),
    "all of the video": LocalHeadsConfig(levels=("all",), text_side="embedding"),
    "pooled": LocalHeadsConfig(levels=("embedding", "last"), head="mlp"),
}


def sized(heads):
    """A small encoder with these heads."""
    text = DEEP_TEXT if "all" in heads else SMALL.text
    return dataclasses.replace(SMALL, text=text, local=HEADS[heads], pool_local=heads == "pooled")


def exported(directory, config, similarity="cosine", length=16):
    params = checkpoints.random(video_text.param_shapes(config), 7)
    side, frames = config.vision.image_size, config.vision.num_frames
    data = DataConfig(num_frames=frames, image_size=side, text_length=length)
    model = ExportedEncoder(config, params, data, similarity)
    return model, write_encoder(model, directory)


def on_torch(directory, **options):
    transformers = pytest.importorskip("transformers")
    options = {"trust_remote_code": True, "output_loading_info": True} | options
    model, report = transformers.AutoModel.from_pretrained(directory / "huggingface", **options)
    assert not any(report.values()), report
    return model.eval()


def on_jax(model, video, ids, mask):
    run = functools.partial(DualEncoder(model.config).apply, hidden_states=True)
    return jax.jit(run)({"params": model.params}, video, ids, mask)


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
        ("centred", (1, 3, 16, 64, 3)),
        ("all of the video", (2, 2, 32, 32, 3)),
        ("pooled", (2, 4, 32, 32, 3)),
    ],
    ids=[
        *("no heads", "last", "mlp", "longer clips", "one tall frame", "shorter, wide clips", "embeddings of words"),
        "pooled",
    ],
)
def test_torch_gives_every_output_of_jax(tmp_path, heads, shape):
    torch = pytest.importorskip("torch")
    config = sized(heads)
    model, limits = exported(tmp_path, config)
    assert (tmp_path / "original").exists() == (heads != "pooled") and (limits == []) == (heads == "none")
    theirs = on_torch(tmp_path)
    video, ids, mask = inputs(shape)
    ids, mask = ids[: len(video)], mask[: len(video)]
    pixels = torch.tensor(np.moveaxis(video, -1, 2))
    words, shown = torch.tensor(ids).long(), torch.tensor(mask).long()
    with torch.no_grad():
        out = theirs(pixel_values_videos=pixels, input_ids=words, attention_mask=shown)
        tokens, pooled, states = theirs.vision_model(pixels)
        word_tokens, word_states = theirs.text_model(words, shown)
        local = theirs.get_local_features(pixels, words, shown)
        maps = theirs.word_maps(pixels, words, shown)
    ours = on_jax(model, video, ids, mask)
    near = {"atol": 1e-5, "rtol": 1e-5}
    np.testing.assert_allclose(out.video_embeds, ours["video_embeds"], **near)
    np.testing.assert_allclose(out.text_embeds, ours["text_embeds"], **near)
    logits = np.exp(model.params["logit_scale"]) * ours["video_embeds"] @ ours["text_embeds"].T
    np.testing.assert_allclose(out.logits_per_video, logits, **near)
    np.testing.assert_allclose(tokens, ours["video_tokens"], **near)
    np.testing.assert_allclose(pooled, ours["video_pooled"], **near)
    np.testing.assert_allclose(word_tokens, ours["text_tokens"], **near)
    for side, found in (("video", states), ("text", word_states)):
        for mine, other in zip(ours[f"{side}_hidden_states"], found, strict=True):
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
    ours = on_jax(model, video, ids, mask)
    expected = np.einsum("ble,bfpe->blfp", ours["text_local"][0], ours["video_local"][0])
    np.testing.assert_allclose(maps, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.torch
def test_frames_of_other_patches_are_refused_with_a_sentence(tmp_path):
    torch = pytest.importorskip("torch")
    exported(tmp_path, SMALL)
    with pytest.raises(ValueError, match="have 20 patches, but this tower takes 16; resize them"):
        on_torch(tmp_path).get_video_features(torch.zeros(1, 2, 3, 32, 40))


@pytest.mark.torch
def test_a_caption_without_a_mask_is_all_real(tmp_path):
    torch = pytest.importorskip("torch")
    model, _ = exported(tmp_path, SMALL)
    video, ids, _ = inputs((2, 1, 32, 32, 3))
    with torch.no_grad():
        found = on_torch(tmp_path).get_text_features(torch.tensor(ids).long())
    ours = on_jax(model, video, ids, None)
    np.testing.assert_allclose(found, ours["text_embeds"], atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_near_on_torch(tmp_path, dtype):
    torch = pytest.importorskip("torch")
    model, _ = exported(tmp_path, SMALL)
    video, ids, mask = inputs((2, 7, 32, 32, 3))
    theirs = on_torch(tmp_path, dtype=getattr(torch, dtype))
    with torch.no_grad():
        out = theirs(torch.tensor(np.moveaxis(video, -1, 2)), torch.tensor(ids).long(), torch.tensor(mask).long())
    ours = on_jax(model, video, ids, mask)
    for name in ("video_embeds", "text_embeds"):
        assert out[name].dtype == torch.float32
        np.testing.assert_allclose(out[name], ours[name], atol=0.02)


@pytest.mark.torch
def test_the_original_names_hold_the_same_numbers_without_the_local_heads(tmp_path):
    torch = pytest.importorskip("torch")
    model, limits = exported(tmp_path, SMALL)
    loaded = torch.load(tmp_path / "original" / "clip_vip.pt", weights_only=True, mmap=True)
    assert all(name.startswith("clipmodel.") for name in loaded)
    found = {name.removeprefix("clipmodel."): x.numpy() for name, x in loaded.items()}
    vision, text = model.params["vision"], model.params["text"]
    expected = {
        "logit_scale": model.params["logit_scale"],
        "visual_projection.weight": model.params["visual_projection"]["kernel"].T,
        "vision_model.embeddings.class_embedding": vision["embeddings"]["class_embedding"],
        "vision_model.embeddings.added_cls": vision["embeddings"]["added_cls"],
        "vision_model.embeddings.temporal_embedding": vision["embeddings"]["temporal_embedding"][None],
        "vision_model.embeddings.position_embedding.weight": vision["embeddings"]["position_embedding"],
        "vision_model.embeddings.position_ids": np.arange(17)[None],
        "vision_model.pre_layrnorm.weight": vision["pre_layernorm"]["scale"],
        "text_model.embeddings.token_embedding.weight": text["token_embedding"],
        "text_model.embeddings.position_ids": np.arange(16)[None],
    }
    for name, x in expected.items():
        np.testing.assert_array_equal(found[name], x, err_msg=name)
    # 16 of a block; 8 and 9 names around them in the towers, 3 of the whole model, and the positions of both towers.
    assert len(found) == 3 * 16 + 2 * 16 + 9 + 4 + 3 + 2
    # Row 1, column 2, blue of a patch of 8 x 8 x 3.
    patch = found["vision_model.embeddings.patch_embedding.weight"]
    np.testing.assert_array_equal(patch[:, 2, 1, 2], vision["embeddings"]["patch_embedding"]["kernel"][(8 + 2) * 3 + 2])
    assert "leaves the local heads out" in limits[0]


@pytest.mark.torch
@pytest.mark.parametrize("proxies", [1, 4])
def test_the_original_comes_back_bit_for_bit_without_its_heads(tmp_path, proxies):
    pytest.importorskip("torch")
    vision = dataclasses.replace(SMALL.vision, num_proxy_tokens=proxies)
    config = dataclasses.replace(SMALL, vision=vision, local=HEADS["none"])
    model, limits = exported(tmp_path, config)
    assert limits == []
    imported = import_as("clip_vip", open_foreign(tmp_path / "original" / "clip_vip.pt"), ImportOptions())
    assert imported.model == config
    assert_same(imported.params, model.params)


@pytest.mark.parametrize("heads", HEADS)
def test_every_kind_of_heads_comes_back_bit_for_bit(tmp_path, heads):
    config = sized(heads)
    model, _ = exported(tmp_path, config)
    record = {"format": "encoder", "stage": "encoder", "model": to_dict(config), "data": {}, "ancestry": {}}
    (tmp_path / RECORD).write_text(json.dumps(record))
    imported = import_exported(tmp_path)
    assert imported.model == config
    assert_same(imported.params, model.params)


def assert_same(found, expected):
    found, expected = flatten(found), flatten(expected)
    assert set(found) == set(expected)
    for path, x in expected.items():
        np.testing.assert_array_equal(np.asarray(found[path]), x, err_msg=path)


def test_the_original_config_is_what_its_code_reads(tmp_path):
    exported(tmp_path, SMALL)
    config = json.loads((tmp_path / "original" / "config.json").read_text())
    assert config["vision_additional_config"] == {
        "type": "ViP",
        "temporal_size": 4,
        "if_use_temporal_embed": 1,
        "logit_scale_init_value": 4.6,
        "add_cls_num": 3,
    }
    assert (config["projection_dim"], config["vision_config"]["hidden_size"]) == (20, 24)
    assert config["text_config"]["max_position_embeddings"] == 16


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
    "日本語のテキスト", "a\tb\nc", "emoji 🎱🎱 👩‍👧 👍🏽", "x" * 200, "don't we'll I'd THEY'RE", "<|endoftext|> inside",
    "<|ENDOFTEXT|>", "", "   ", "3.14159", "it’s ‘so’", "word " * 60, "MiXeD CaSe and_underscores", "a.b,c;d:e",
    "½ ² ³ Ⅷ", "'s 't", "R&amp;D &lt;b&gt; &quot;x&quot; &#39;s &amp;amp; AT&T&nbsp;", "ﬁne ﬂow ǆ Ĳ ŉ",
    "a\x00b \x1b[31mred \ufeffbom\u200bzero \xadsoft", "ΟΔΟΣ ΣΑΣ Σ ΑΣ'Α", "İstanbul ISTANBUL ıßẞ K Å", "e\u0301 = é",
    "Русский العربية हिन्दी ไทย 한국어", "a\u2028b\u3000c\xa0d", "$5 €6 £7 #8 @9 ~^` [{()}] \\ | / * + = _",
    "Ｗｉｄｅ，１２！ ﾊﾞ", "-- — ... !?",
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_str(json.dumps(clip_tokenizer()))


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_gives_our_ids(tokenizer, text):
    ours = ClipTokenizer(512)(text)
    assert tokenizer.encode(text).ids == ours.ids[ours.mask].tolist()


def test_the_tokenizer_gives_our_ids_for_random_mixtures(tokenizer):
    rng = np.random.default_rng(0)
    words = [word for text in TEXTS for word in text.split() if "<|" not in word]
    for _ in range(500):
        text = rng.choice(["", " ", "  "]).join(rng.choice(words, rng.integers(1, 8)))
        ours = ClipTokenizer(512)(text)
        assert tokenizer.encode(text).ids == ours.ids[ours.mask].tolist(), text


def test_ids_become_words_again(tokenizer):
    assert (
        tokenizer.decode(tokenizer.encode("The naïve CUE ball, 12 – 日本!").ids) == "the naïve cue ball , 1 2 – 日本 !"
    )


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
    assert found["input_ids"][1, -1] == 49407  # What was cut off ends all the same.
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    expected = np.moveaxis((clip[[0, 2, 5, 8]] / 255 - mean) / std, -1, 1)
    np.testing.assert_allclose(found["pixel_values_videos"][0], expected, atol=1e-5)
