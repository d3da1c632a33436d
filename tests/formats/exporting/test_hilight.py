"""The original's layout: what is in it, what comes back, and what the original has no place for.

Names, shapes and numbers against the original's own files are in ``tests/parity`` (kinds ``checkpoint_layout`` and
``checkpoint_directory``).
"""

import dataclasses
import json
import pathlib

import jax
import ml_dtypes
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import flatten
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.exporting.exported_model import ExportedChat
from hilight_jax.formats.exporting.hilight import check, write_hilight
from hilight_jax.formats.importing.hilight import ChatFiles, find_files, find_tokenizer, import_hilight
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.long_clip import FrameConfig, LongClipConfig, LongTextConfig
from hilight_jax.models.long_clip import param_shapes as long_clip_shapes
from hilight_jax.models.token_mining_config import TokenMiningConfig
from tests.data.conversations.tiny_gemma import PATH
from tests.models import tiny_hilight

CONFIG = HiLightConfig(
    VisionConfig(image_size=8, patch_size=4, width=12, depth=2, num_heads=2, mlp_dim=10),
    FrameConfig(image_size=8, patch_size=4, width=64, depth=1, num_heads=1, mlp_dim=256, embed_dim=6),
    TokenMiningConfig(width_video=12, width_frames=6, width_out=8),
    GemmaConfig(vocab_size=20, width=8, depth=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp_dim=10),
)


def _model(dtype=np.float32, config=CONFIG, **fields) -> ExportedChat:
    params = jax.tree.map(lambda x: np.asarray(x).astype(dtype), tiny_hilight.params(CONFIG))
    return ExportedChat(config, params, ConversationDataConfig(), pathlib.Path(PATH), **fields)


def _long_clip_texts() -> dict:
    """The part of a Long-CLIP that a chat model does not use, drawn."""
    texts = LongTextConfig(
        vocab_size=9, max_length=248, width=64, depth=2, num_heads=1, mlp_dim=256, embed_dim=CONFIG.frames.embed_dim
    )
    shapes = long_clip_shapes(LongClipConfig(CONFIG.frames, texts))
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    return {name: tree for name, tree in drawn.items() if name != "frames"}


def _import(directory: pathlib.Path, **options):
    files = find_files(directory / "hilight", ChatFiles())
    return import_hilight(open_foreign(directory / "hilight"), files, **options)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_an_export_that_is_imported_is_the_same_model_bit_for_bit(tmp_path, dtype):
    pytest.importorskip("torch")
    model = _model(dtype)
    write_hilight(model, tmp_path)
    found = _import(tmp_path, fp16_rounded=False)
    assert found.model == CONFIG
    expected, found = flatten(model.params), flatten(found.params)
    assert set(found) == set(expected)
    for name, x in expected.items():
        assert np.asarray(found[name]).astype(dtype).tobytes() == x.tobytes(), name


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_file_and_the_config_have_the_weights_dtype(tmp_path, dtype):
    pytest.importorskip("torch")
    write_hilight(_model(dtype), tmp_path)
    zoo = tmp_path / "model_zoo"
    files = [
        tmp_path / "hilight",
        zoo / "CLIP-ViP/pretrain_clipvip_base_16.pt",
        zoo / "Long-CLIP/longclip-B.pt",
        zoo / "TokenMining/token_mining.bin",
    ]
    for file in files:
        weights = open_foreign(file).weights
        assert {x.dtype for name, x in weights.items() if "position_ids" not in name} == {np.dtype(dtype)}, file
    assert json.loads((tmp_path / "hilight/config.json").read_text())["torch_dtype"] == np.dtype(dtype).name


def test_torch_is_not_needed_to_write(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    write_hilight(_model(), tmp_path)
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 9


@pytest.mark.torch
def test_long_clip_is_written_whole_where_its_run_is_there(tmp_path):
    pytest.importorskip("torch")
    texts = _long_clip_texts()
    said = write_hilight(_model(extra={"long_clip": texts}), tmp_path)
    weights = open_foreign(tmp_path / "model_zoo/Long-CLIP/longclip-B.pt").weights
    np.testing.assert_array_equal(weights["token_embedding.weight"].read(), texts["text"]["token_embedding"])
    assert weights["transformer.resblocks.1.attn.in_proj_weight"].shape == (192, 64)
    assert not any("stand-in" in sentence for sentence in said)


@pytest.mark.torch
def test_without_its_run_the_text_tower_is_the_smallest_that_the_original_s_loader_takes(tmp_path):
    """It reads widths, heads (of 64) and layers from shapes, and wants every name."""
    pytest.importorskip("torch")
    said = write_hilight(_model(), tmp_path)
    weights = open_foreign(tmp_path / "model_zoo/Long-CLIP/longclip-B.pt").weights
    assert weights["ln_final.weight"].shape == (64,)
    assert weights["positional_embedding"].shape == weights["positional_embedding_res"].shape == (248, 64)
    assert weights["text_projection"].shape == (64, CONFIG.frames.embed_dim)
    assert {name for name in weights if name.startswith("transformer.")} == {
        name.removeprefix("visual.") for name in weights if name.startswith("visual.transformer.resblocks.0.")
    }
    assert any("stand-in of zeros" in sentence for sentence in said)


def test_arrays_are_read_one_after_the_other_and_stacked_ones_once(tmp_path):
    """A stacked array is read once per file that its layers go to; token mining goes into two."""
    model, reads = _model(), {}

    def watched(path, x):
        name = jax.tree_util.keystr(path)
        return LazyArray(x.shape, x.dtype, lambda: reads.update({name: reads.get(name, 0) + 1}) or x)

    params = jax.tree_util.tree_map_with_path(watched, model.params)
    write_hilight(dataclasses.replace(model, params=params), tmp_path, shard_bytes=500)
    assert len(list((tmp_path / "hilight").glob("model-*-of-*.safetensors"))) > 3
    assert {name: count for name, count in reads.items() if count != 1 + ("token_mining" in name)} == {}


def test_the_tokenizer_is_found_beside_the_language_model(tmp_path):
    write_hilight(_model(), tmp_path)
    found = find_tokenizer(tmp_path / "hilight")
    assert GemmaTokenizer(found).encode("a red ball") == GemmaTokenizer(PATH).encode("a red ball")


@pytest.mark.torch
def test_transformers_reads_the_tokenizer_s_directory_as_gemma_s(tmp_path):
    transformers = pytest.importorskip("transformers")
    write_hilight(_model(), tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model_zoo/LLM/gemma/tokenizer")
    text = "<start_of_turn>user\nwhich ball?<end_of_turn>\n<start_of_turn>model\nred<end_of_turn>\n<eos>"
    assert theirs(text).input_ids == GemmaTokenizer(PATH).encode(text, bos=True)


@pytest.mark.parametrize(
    "part, changes, said",
    [
        ("token_mining", {"expansion": "transpose"}, "token_mining.expansion is 'transpose'.* only 'reinterpret'"),
        ("token_mining", {"final_relu": False}, "token_mining.final_relu is False"),
        ("token_mining", {"final_norm": True}, "token_mining.final_norm is True.* only False"),
        ("token_mining", {"positions": True}, "token_mining.positions is True.* only False"),
        ("token_mining", {"num_heads": 2}, "token_mining.num_heads is 2.* only 1"),
        ("token_mining", {"residual": True}, "token_mining.residual is True.* only False"),
        ("token_mining", {"structure": "grid_pooling", "tokens_per_frame": 4}, "structure is 'grid_pooling'.* only"),
        ("token_mining", {"tokens_per_frame": 16}, "token_mining.tokens_per_frame is 16.* only 32"),
        ("token_mining", {"structure": "two_linear", "tokens_per_frame": 1}, "token_mining.structure is 'two_linear'"),
        ("vision", {"num_frames": 8}, "vision.num_frames is 8.* only 12"),
        ("vision", {"num_proxy_tokens": 1}, "vision.num_proxy_tokens is 1.* only 4"),
        ("vision", {"temporal_embedding": False}, "vision.temporal_embedding is False"),
        ("frames", {"num_heads": 2}, "frames.num_heads is 2.* only 1"),
        ("gemma", {"num_heads": 4}, r"gemma.num_heads \* gemma.head_dim is 16.* only 8"),
    ],
)
def test_what_the_original_cannot_be_is_refused_before_anything_is_written(tmp_path, part, changes, said):
    config = dataclasses.replace(CONFIG, **{part: dataclasses.replace(getattr(CONFIG, part), **changes)})
    with pytest.raises(ConfigError, match=said + ".*use --format huggingface"):
        write_hilight(_model(config=config), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_without_long_clip_is_refused():
    with pytest.raises(ConfigError, match="the original always has a Long-CLIP.*--format huggingface"):
        check(dataclasses.replace(CONFIG, frames=None))


def test_widths_that_the_original_s_code_has_written_into_it_are_told(tmp_path):
    said = write_hilight(_model(), tmp_path)
    assert any("(768, 512, 2048)" in sentence and "(12, 6, 8)" in sentence for sentence in said)
