import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hilight_jax.core.errors import CheckpointError, ConfigError, UserError
from hilight_jax.core.trees import flatten
from hilight_jax.formats import long_clip_names
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.importing.hilight import ChatFiles
from hilight_jax.formats.importing.kinds import ImportOptions, import_as, recognise
from tests.formats.importing import checkpoints


def brought_in(path, kind=None, **options):
    foreign = open_foreign(path)
    return import_as(kind or recognise(foreign), foreign, ImportOptions(**options))


def assert_same(imported, expected):
    found, expected = flatten(imported.params), flatten(expected)
    assert set(found) == set(expected)
    for path, x in expected.items():
        np.testing.assert_array_equal(np.asarray(found[path]), x, err_msg=path)


@pytest.mark.torch
class TestTorchFiles:
    @pytest.fixture(autouse=True)
    def needs_torch(self):
        pytest.importorskip("torch")

    @pytest.mark.parametrize("prefix", ["clipmodel.", "module.clipmodel.", "module.", ""])
    def test_clip_vip_under_every_wrapper(self, tmp_path, prefix):
        params = checkpoints.clip_vip(tmp_path / "x.pt", prefix)
        imported = brought_in(tmp_path / "x.pt")
        assert (imported.stage, imported.model) == ("encoder", checkpoints.CLIP_VIP)
        assert list(imported.left_over) == ["vision_model.embeddings.position_ids"]
        assert_same(imported, params)

    def test_long_clip(self, tmp_path):
        params = checkpoints.long_clip_file(tmp_path / "longclip-B.pt")
        imported = brought_in(tmp_path / "longclip-B.pt")
        assert (imported.stage, imported.model) == ("long_clip", checkpoints.LONG_CLIP)
        assert_same(imported, params)
        rounded = brought_in(tmp_path / "longclip-B.pt", fp16_rounded=True)
        assert np.asarray(rounded.params["frames"]["projection"]["kernel"]).tolist() == (
            params["frames"]["projection"]["kernel"].astype(np.float16).astype(np.float32).tolist()
        )

    def test_openai_clip_is_an_encoder_of_single_frames_and_stretches_to_a_long_clip(self, tmp_path):
        params = checkpoints.openai_clip(tmp_path / "ViT.pt")
        imported = brought_in(tmp_path / "ViT.pt")
        assert imported.model.vision == checkpoints.CLIP_VISION
        assert sorted(imported.left_over) == ["context_length", "input_resolution", "vocab_size"]
        np.testing.assert_array_equal(
            np.asarray(imported.params["visual_projection"]["kernel"]), params["frames"]["projection"]["kernel"]
        )
        stretched = brought_in(tmp_path / "ViT.pt", stretch=True)
        assert stretched.model == checkpoints.LONG_CLIP
        table = long_clip_names.stretch_positions(params["text"]["position_embedding"])
        for name in ("position_embedding", "position_embedding_res"):
            np.testing.assert_array_equal(np.asarray(stretched.params["text"][name]), table)
        np.testing.assert_array_equal(
            np.asarray(stretched.params["text"]["projection"]["kernel"]), params["text"]["projection"]["kernel"]
        )

    def test_a_gemma_bin_with_its_tied_head(self, tmp_path):
        params = checkpoints.gemma_directory(tmp_path / "g", head=True)
        imported = brought_in(tmp_path / "g")
        assert list(imported.left_over) == ["lm_head.weight"]
        assert_same(imported, {"gemma": params})

    def test_a_hilight_finds_its_other_files(self, tmp_path):
        params = checkpoints.hilight_directory(tmp_path / "h")
        imported = brought_in(tmp_path / "h" / "hilight")
        assert (imported.stage, imported.model) == ("chat", checkpoints.HILIGHT)
        assert_same(imported, params)
        zoo = tmp_path / "h" / "model_zoo"
        moved = zoo.rename(tmp_path / "elsewhere")
        with pytest.raises(
            CheckpointError, match="HiLight without its CLIP-ViP tower.* name the tower's file by --vis"
        ):
            brought_in(tmp_path / "h" / "hilight")
        files = ChatFiles(
            vision=moved / "CLIP-ViP" / "pretrain_clipvip_base_16.pt",
            frames=moved / "Long-CLIP" / "longclip-B.pt",
            token_mining=moved / "TokenMining" / "token_mining.bin",
        )
        named = brought_in(tmp_path / "h" / "hilight", files=files)
        assert "a connector is given by itself" in named.left_over.values()
        assert_same(named, params)

    def test_a_stretched_clip_vip_is_refused(self, tmp_path):
        checkpoints.clip_vip(tmp_path / "x.pt")
        with pytest.raises(ConfigError, match="--stretch is for hf_clip and openai_clip, but this is CLIP-ViP"):
            brought_in(tmp_path / "x.pt", stretch=True)

    def test_a_part_of_a_hilight_says_where_it_belongs(self, tmp_path):
        checkpoints.hilight_directory(tmp_path / "h")
        mining = tmp_path / "h" / "model_zoo" / "TokenMining" / "token_mining.bin"
        with pytest.raises(CheckpointError, match="token mining alone, a part of a HiLight.*--token_mining"):
            brought_in(mining)
        tower = open_foreign(tmp_path / "h" / "model_zoo" / "CLIP-ViP" / "pretrain_clipvip_base_16.pt")
        with pytest.raises(CheckpointError, match="a video tower without a text tower"):
            import_as(recognise(tower), tower, ImportOptions())


def test_a_clip_of_hugging_face(tmp_path):
    params = checkpoints.hf_clip(tmp_path / "clip")
    imported = brought_in(tmp_path / "clip")
    assert (imported.stage, imported.model, imported.left_over) == ("encoder", checkpoints.CLIP, {})
    assert_same(imported, params)


def test_a_gemma_takes_the_activation_that_it_was_trained_with(tmp_path):
    params = checkpoints.gemma_directory(tmp_path / "g")
    config = json.loads((tmp_path / "g" / "config.json").read_text())
    del config["hidden_activation"]
    (tmp_path / "g" / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    imported = brought_in(tmp_path / "g")
    assert imported.stage == "language_model"
    assert imported.model.gemma.hidden_act == "gelu_pytorch_tanh"
    assert_same(imported, {"gemma": params})
    assert brought_in(tmp_path / "g", rule="4.38.0").model.gemma.hidden_act == "gelu"


def test_misshapen_missing_and_extra_arrays_are_all_named_with_both_shapes_and_both_names(tmp_path):
    checkpoints.hf_clip(tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    weights["text_projection.weight"] = np.zeros((24, 65), np.float32)
    del weights["logit_scale"]
    weights["what.is.this"] = np.zeros(3, np.float32)
    save_file(weights, tmp_path / "clip" / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        brought_in(tmp_path / "clip")
    said = str(error.value)
    assert "3 names" in said
    assert "'text_projection.weight' has shape (24, 65), expected (24, 64) ('text_projection/kernel')" in said
    assert "'logit_scale' is missing" in said
    assert "'what.is.this' is not part of this model" in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_act": "gelu"}, "vision_config.hidden_act is 'gelu', but these towers have 'quick_gelu'"),
        ({"layer_norm_eps": 1e-6}, "vision_config.layer_norm_eps is 1e-06, but these towers have 1e-5"),
    ],
)
def test_a_clip_of_another_make_is_refused(tmp_path, change, sentence):
    checkpoints.hf_clip(tmp_path / "clip")
    path = tmp_path / "clip" / "config.json"
    config = json.loads(path.read_text())
    config["vision_config"] |= change
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=sentence):
        brought_in(tmp_path / "clip")


@pytest.mark.parametrize("heads", ["one", [1], -1, 7, 1.0])
def test_heads_that_are_no_number_of_heads_are_refused(tmp_path, heads):
    checkpoints.hf_clip(tmp_path / "clip")
    path = tmp_path / "clip" / "config.json"
    path.write_text(json.dumps({"vision_config": {"num_attention_heads": heads}}))
    with pytest.raises(CheckpointError, match="num_attention_heads=.* a tower 64 wide needs a number that divides it"):
        brought_in(tmp_path / "clip")


@pytest.mark.torch
def test_openais_names_with_another_makes_activation_are_refused(tmp_path):
    pytest.importorskip("torch")
    checkpoints.openai_clip(tmp_path / "ViT.pt")
    assert "its activation is quick_gelu, as OpenAI's" in brought_in(tmp_path / "ViT.pt").choices[0]
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"hidden_act": "gelu"}}))
    with pytest.raises(ConfigError, match="text_config.hidden_act is 'gelu'"):
        brought_in(tmp_path / "ViT.pt")


@pytest.mark.parametrize(
    ("name", "x", "sentence"),
    [
        (
            "text_projection.weight",
            np.ones((24, 64), np.int8),
            "'text_projection.weight' holds int8 numbers, and no sc",
        ),
        ("vision_model.embeddings.added_cls", np.array(1.0), r"added_cls' has shape \(\), but must have 2 axes"),
        ("vision_model.embeddings.position_embedding.weight", np.ones((0, 64)), "has 0 rows, but must have one more"),
        ("module.logit_scale", np.array(1.0), "'logit_scale' and another array are both|are both 'logit_scale'"),
        ("vision_model.encoder.layers.999999999999.layer_norm1.weight", np.ones(64), "not whole.* for layer 2"),
    ],
    ids=["quantised", "scalar", "empty", "twice", "far layer"],
)
def test_arrays_that_no_clip_has_are_refused_by_a_sentence(tmp_path, name, x, sentence):
    checkpoints.hf_clip(tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    save_file(weights | {name: x}, tmp_path / "clip" / "model.safetensors")
    with pytest.raises(CheckpointError, match=sentence):
        brought_in(tmp_path / "clip", "hf_clip")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_size": "32"}, "hidden_size='32', but it must be a whole number"),
        ({"num_hidden_layers": 3.0}, "num_hidden_layers=3.0, but it must be a whole number"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000, but .* holds 29 arrays"),
        ({"rms_norm_eps": "x"}, "rms_norm_eps='x', but it must be a number"),
        ({"rope_theta": None}, "rope_theta=None, but it must be a number"),
        ({"rope_parameters": [1]}, "rope_parameters=.*must be an object"),
        ({"hidden_activation": [1]}, "names the activation"),
    ],
)
def test_a_config_json_with_other_types_is_refused_by_a_sentence(tmp_path, change, sentence):
    checkpoints.gemma_directory(tmp_path / "g")
    path = tmp_path / "g" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=sentence):
        brought_in(tmp_path / "g")


def test_an_unknown_architecture_is_named_with_what_is_known(tmp_path):
    save_file({"encoder.weight": np.zeros(3, np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(
        CheckpointError, match=r"not known here: 1 arrays, the first 'encoder.weight'; known are .*\(gemma"
    ):
        brought_in(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="'visual.conv1.weight' is missing, from which the size"):
        brought_in(tmp_path / "x.safetensors", "long_clip")


def test_a_later_gemma_is_refused_by_its_model_type(tmp_path):
    checkpoints.gemma_directory(tmp_path / "g")
    path = tmp_path / "g" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "gemma2"}))
    with pytest.raises(ConfigError, match="model_type 'gemma2'"):
        brought_in(tmp_path / "g")
    path.unlink()
    with pytest.raises(CheckpointError, match="has no config.json.*--model_config"):
        brought_in(tmp_path / "g")


def test_half_precision_comes_in_exactly(tmp_path):
    params = checkpoints.hf_clip(tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    save_file({name: x.astype(np.float16) for name, x in weights.items()}, tmp_path / "clip" / "model.safetensors")
    expected = jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), params)
    assert_same(brought_in(tmp_path / "clip"), expected)


def test_a_missing_layer_is_named(tmp_path):
    checkpoints.hf_clip(tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    kept = {name.replace("layers.1.", "layers.2."): x for name, x in weights.items()}
    save_file(kept, tmp_path / "clip" / "model.safetensors")
    with pytest.raises(CheckpointError, match="layers are not whole.* for layer 1"):
        brought_in(tmp_path / "clip")
