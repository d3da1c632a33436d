import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import tensorstore
from safetensors.numpy import load_file, save_file

from hilight_jax import api, convert, export, train
from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import UserError
from hilight_jax.core.trees import flatten, map_with_path
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.exporting.lora import write_adapter
from hilight_jax.formats.importing.gemma import import_adapter, lora_shapes
from hilight_jax.models import hilight
from hilight_jax.models.lora import LoraConfig
from hilight_jax.stages.load_config import read_config
from tests.formats.importing import checkpoints


def converted(source, workdir, *arguments, capsys=None):
    convert.main([str(source), "--to", str(workdir), *arguments])
    return Store(pathlib.Path(workdir) / "checkpoints", read_only=True)


def assert_stored(store, expected):
    found = flatten(store.restore_params(store.latest()))
    expected = flatten(expected)
    assert set(found) == set(expected)
    for path, x in expected.items():
        np.testing.assert_array_equal(found[path], x, err_msg=path)


def assert_stored_part(store, part, expected):
    found, expected = flatten(store.restore_params(store.latest(), only=part)[part]), flatten(expected)
    assert set(found) == set(expected)
    for path, x in expected.items():
        np.testing.assert_array_equal(found[path], x, err_msg=path)


def test_a_clip_becomes_an_encoder_that_embeds_as_it_did(tmp_path):
    params = checkpoints.hf_clip(tmp_path / "clip")
    assert_stored(converted(tmp_path / "clip", tmp_path / "run"), params)
    model = api.load(tmp_path / "run")
    assert model.encode_text("a red ball").shape == (24,)
    assert read_config(tmp_path / "run").model == checkpoints.CLIP


@pytest.mark.torch
def test_its_embeddings_are_those_of_transformers(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
              "image_size": 32, "patch_size": 8}  # fmt: skip
    text = {"vocab_size": 49408, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "eos_token_id": 49407, "bos_token_id": 49406, "pad_token_id": 49407}  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=24))
    theirs.eval().save_pretrained(tmp_path / "clip", max_shard_size="2MB")
    converted(tmp_path / "clip", tmp_path / "run")
    encoder = api.load(tmp_path / "run").encoder
    frames = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32, 3), np.uint8)
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = np.moveaxis((frames[:, 0] / 255 - mean) / std, -1, 1).astype(np.float32)
    ids = np.array([[49406, 320, 736, 49407], [49406, 5, 49407, 49407]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.no_grad():
        inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        expected = theirs(pixel_values=torch.tensor(pixels), **inputs)
    video = encoder.encode_video(frames)["video_embeds"]
    words = encoder.encode_text(ids.astype(np.int32), mask.astype(bool))["text_embeds"]
    np.testing.assert_allclose(video, expected.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(words, expected.text_embeds.numpy(), atol=1e-5)


@pytest.mark.torch
def test_a_gemma_of_transformers_gives_the_same_logits(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from hilight_jax.models.gemma import Gemma

    config = transformers.GemmaConfig(
        vocab_size=640, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.GemmaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path / "gemma", max_shard_size="40KB")
    store = converted(tmp_path / "gemma", tmp_path / "run")
    params = store.restore_params(0)["gemma"]
    model, ids = Gemma(read_config(tmp_path / "run").model.gemma), np.arange(2, 14, dtype=np.int32)[None]
    embeds = model.apply({"params": params}, ids, method="embed")
    out = model.apply({"params": params}, embeds, np.arange(12)[None], np.ones((1, 12), bool))
    logits = model.apply({"params": params}, out["tokens"], method="logits")
    with torch.no_grad():
        expected = theirs(torch.tensor(ids).long()).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.torch
def test_a_hilight_becomes_an_aligned_run_that_chats_and_can_be_tuned(tmp_path):
    pytest.importorskip("torch")
    params = checkpoints.hilight_directory(tmp_path / "h")
    assert_stored(converted(tmp_path / "h" / "hilight", tmp_path / "run"), params)
    run = read_config(tmp_path / "run")
    assert (run.stage, run.model) == ("align", checkpoints.HILIGHT)
    answer = api.load(tmp_path / "run").chat([{"text": "what is hit?"}], max_new_tokens=3)
    assert isinstance(answer, str)


@pytest.mark.torch
def test_a_hilight_with_an_adapter_becomes_a_tuned_run(tmp_path):
    pytest.importorskip("torch")
    checkpoints.hilight_directory(tmp_path / "h")
    config = LoraConfig(rank=4, alpha=6.0, targets=(r"layers/attn/(q|v)_proj",))
    deltas = checkpoints.random(lora_shapes(hilight.param_shapes(checkpoints.HILIGHT)["gemma"], config), 8)
    write_adapter({"gemma": deltas}, config, tmp_path / "adapter")
    arguments = ["--adapter", str(tmp_path / "adapter")]
    store = converted(tmp_path / "h" / "hilight", tmp_path / "run", *arguments)
    run = read_config(tmp_path / "run")
    assert (run.stage, run.model.lora.rank, run.model.lora.alpha) == ("tune", 4, 6.0)
    assert_stored_part(store, "lora", {"gemma": deltas})
    assert isinstance(api.load(tmp_path / "run").chat([{"text": "what is hit?"}], max_new_tokens=3), str)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"peft_type": "IA3"}, "no adapter_config.json with peft_type LORA"),
        ({"use_dora": True}, "use_dora=True, which is more than plain LoRA"),
        ({"bias": "all"}, "bias='all', but only 'none'"),
        ({"r": None}, "r=None, .* they must be numbers"),
        ({"r": 0}, "r=0, .* they must be numbers, and r at least 1"),
        ({"lora_dropout": "x"}, "lora_dropout='x', but they must be numbers"),
        ({"layer_replication": [[0, 2]]}, "layer_replication=.* more than plain LoRA"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens=.* more than plain LoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "'pissa_niter_4', which changed the model's own weights too"),
        ({"r": 8}, "has shape"),
    ],
)
def test_another_kind_of_adapter_is_refused(tmp_path, change, sentence):
    pytest.importorskip("torch")
    checkpoints.hilight_directory(tmp_path / "h")
    config = LoraConfig(rank=4, alpha=6.0)
    deltas = checkpoints.random(lora_shapes(hilight.param_shapes(checkpoints.HILIGHT)["gemma"], config), 8)
    write_adapter({"gemma": deltas}, config, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    arguments = ["--adapter", str(tmp_path / "adapter"), "--to", str(tmp_path / "run")]
    with pytest.raises(UserError, match=sentence):
        convert.main([str(tmp_path / "h" / "hilight"), *arguments])
    assert not (tmp_path / "run").exists()


def test_an_adapter_of_rank_stabilised_lora_keeps_its_scale(tmp_path):
    shapes = hilight.param_shapes(checkpoints.HILIGHT)["gemma"]
    config = LoraConfig(rank=4, alpha=6.0)
    write_adapter({"gemma": checkpoints.random(lora_shapes(shapes, config), 8)}, config, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_rslora": True}))
    assert import_adapter(open_foreign(tmp_path / "adapter"), shapes)[0].scale == 3.0  # 6 / sqrt(4)


def test_a_language_model_is_a_source_with_its_tokenizer(tmp_path):
    params = checkpoints.gemma_directory(tmp_path / "g")
    assert_stored(converted(tmp_path / "g", tmp_path / "run"), {"gemma": params})
    assert read_config(tmp_path / "run").stage == "language_model"
    assert (tmp_path / "run" / "tokenizer.model").read_bytes() == checkpoints.TOKENIZER.read_bytes()
    with pytest.raises(UserError, match="is a part of a model; name a run of encoder, align or tune"):
        api.load(tmp_path / "run")


def test_the_record_names_every_file_with_its_hash_and_what_was_left(tmp_path, capsys):
    import hashlib

    checkpoints.hf_clip(tmp_path / "clip")
    converted(tmp_path / "clip", tmp_path / "run", "--json")
    record = json.loads((tmp_path / "run" / "ancestry.json").read_text())
    content = (tmp_path / "clip" / "model.safetensors").read_bytes()
    assert record["files"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (record["made_by"], record["arrays_used"], record["left_over"]) == ("convert", 78, {})
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["kind"], result["used"], result["missing"]) == ("hf_clip", 78, [])


def test_what_an_export_says_of_its_origin_comes_back_with_it_and_no_option_is_passed_over(tmp_path):
    checkpoints.hf_clip(tmp_path / "clip")
    converted(tmp_path / "clip", tmp_path / "run")
    export.main([str(tmp_path / "run"), "--format", "encoder", "--to", str(tmp_path / "out"), "--no_fingerprint"])
    converted(tmp_path / "out", tmp_path / "again")
    before, after = (json.loads((tmp_path / name / "ancestry.json").read_text()) for name in ("run", "again"))
    assert after["started_from"]["export"]["files"][0]["sha256"] == before["files"][0]["sha256"]
    for option in (["--stretch"], ["--kind", "gemma"], ["--adapter", "x"], ["--tokenizer", str(checkpoints.TOKENIZER)]):
        with pytest.raises(UserError, match=f"{option[0]} (cannot be used on|is for models with a language model)"):
            convert.main([str(tmp_path / "out"), "--to", str(tmp_path / "other"), *option])
    record = json.loads((tmp_path / "out" / "hilight_jax.json").read_text())
    for change in ({"format": [1]}, {"data": 3}, {"ancestry": None}):
        (tmp_path / "out" / "hilight_jax.json").write_text(json.dumps(record | change))
        with pytest.raises(UserError, match=r"hilight_jax.json' (is damaged|names the format)"):
            convert.main([str(tmp_path / "out"), "--to", str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()


def test_a_source_that_lies_where_the_writing_would_be_is_untouched(tmp_path):
    checkpoints.hf_clip(tmp_path / "clip.partial")
    with pytest.raises(UserError, match="something else is there"):
        convert.main([str(tmp_path / "clip.partial"), "--to", str(tmp_path / "clip")])
    assert (tmp_path / "clip.partial" / "model.safetensors").is_file()


def test_pieces_for_several_hosts_hold_the_same_numbers(tmp_path):
    params = checkpoints.hf_clip(tmp_path / "clip")
    store = converted(tmp_path / "clip", tmp_path / "run", "--shards", "4")
    assert_stored(store, params)
    lazily = store.lazy_params(0)
    np.testing.assert_array_equal(np.asarray(lazily["text"]["token_embedding"]), params["text"]["token_embedding"])
    stored = {"driver": "ocdbt", "base": f"file://{tmp_path}/run/checkpoints/0/text/", "path": "token_embedding/"}
    table = tensorstore.open({"driver": "zarr", "kvstore": stored}).result()
    assert table.chunk_layout.read_chunk.shape == (49408, 16)
    mesh = jax.make_mesh((4,), ("fsdp",))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "fsdp"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    like = map_with_path(
        lambda path, x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=place if path == "text/token_embedding" else whole
        ),
        {"text": store.param_shapes(0)["text"]},
    )
    restored = store.restore_params(0, like)["text"]["token_embedding"]
    assert [shard.data.shape for shard in restored.addressable_shards] == [(49408, 16)] * 4
    np.testing.assert_array_equal(np.asarray(restored), params["text"]["token_embedding"])


def test_stored_in_half_precision(tmp_path):
    params = checkpoints.hf_clip(tmp_path / "clip")
    store = converted(tmp_path / "clip", tmp_path / "run", "--dtype", "bfloat16")
    found = store.restore_params(0)["text"]["position_embedding"]
    assert found.dtype == "bfloat16"
    np.testing.assert_array_equal(found, params["text"]["position_embedding"].astype("bfloat16"))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def evil(path):
    """A pickle that would run a command."""
    path.write_bytes(b"\x80\x02cposix\nsystem\nX\x0b\x00\x00\x00touch PWNED\x85R.")


@pytest.mark.parametrize(
    ("name", "prepare", "sentence"),
    [
        ("nowhere", lambda p: None, "there is no file or directory"),
        ("notes.txt", lambda p: p.write_text("hello"), "no checkpoint of torch's, or is cut off|pickle that calls"),
        ("x.safetensors", lambda p: save_file({"a": np.ones(3)}, p), "an architecture that is not known here"),
        ("evil.bin", evil, "never run|no checkpoint"),
        ("empty.pt", lambda p: p.write_bytes(b""), "no checkpoint"),
    ],
)
@pytest.mark.torch
def test_what_is_no_checkpoint_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, name, prepare, sentence):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path / name)
    with pytest.raises(UserError, match=sentence) as error:
        convert.main([str(tmp_path / name), "--to", str(tmp_path / "run")])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists() and not (tmp_path / "run.partial").exists()
    assert not (tmp_path / "PWNED").exists()


def test_an_existing_destination_is_untouched(tmp_path):
    checkpoints.hf_clip(tmp_path / "clip")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("x")
    with pytest.raises(UserError, match="exists already"):
        convert.main([str(tmp_path / "clip"), "--to", str(tmp_path / "run")])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def test_a_disk_that_is_too_small_is_said_beforehand(tmp_path, monkeypatch):
    checkpoints.hf_clip(tmp_path / "clip")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"will take 0\.0 GB, but its disk has 0\.0 GB left"):
        convert.main([str(tmp_path / "clip"), "--to", str(tmp_path / "run")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip"]


def test_a_hilight_without_a_tokenizer_says_so_before_anything_is_written(tmp_path):
    pytest.importorskip("torch")
    checkpoints.hilight_directory(tmp_path / "h")
    shutil.rmtree(tmp_path / "h" / "model_zoo" / "LLM")
    with pytest.raises(UserError, match="needs the tokenizer.model of its Gemma.*--tokenizer"):
        convert.main([str(tmp_path / "h" / "hilight"), "--to", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("shards", ["0", "-3"])
def test_no_pieces_are_refused(tmp_path, shards):
    checkpoints.hf_clip(tmp_path / "clip")
    with pytest.raises(UserError, match=f"--shards is {shards}, but must be at least 1"):
        convert.main([str(tmp_path / "clip"), "--to", str(tmp_path / "run"), "--shards", shards])


@pytest.mark.slow
def test_a_conversion_that_is_killed_leaves_nothing_that_looks_finished(tmp_path):
    checkpoints.hf_clip(tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    save_file(weights, tmp_path / "clip" / "model.safetensors")
    program = (
        "import os, sys\n"
        "from hilight_jax import convert\n"
        "from hilight_jax.checkpoints import streaming\n"
        "real = streaming.LazyArray.read\n"
        "left = [40]\n"
        "def read(self):\n"
        "    left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), 9)\n"
        "    return real(self)\n"
        "streaming.LazyArray.read = read\n"
        "convert.main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "clip"), "--to", str(tmp_path / "run")]
    assert subprocess.run(command, cwd=pathlib.Path(__file__).parents[1]).returncode == -9
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.partial").exists()
    converted(tmp_path / "clip", tmp_path / "run")
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.torch
def test_a_hilight_without_a_text_tower_says_that_it_cannot_embed(tmp_path):
    pytest.importorskip("torch")
    checkpoints.hilight_directory(tmp_path / "h")
    converted(tmp_path / "h" / "hilight", tmp_path / "run")
    with pytest.raises(UserError, match="holds no text tower, so it cannot embed"):
        api.load(tmp_path / "run").encode_text("a red ball")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ([], "has model.vision.num_heads=1, but here it is 4; set config.model.vision.num_heads=1"),
        (["--config.init_from.workdir=nowhere"], "'nowhere' is not a working directory"),
        (
            ["--config.init_from.workdir=language"],
            "is a run of the stage 'language_model', but this is one of 'encoder'",
        ),
    ],
)
def test_a_dry_run_looks_at_the_run_that_it_would_start_from(tmp_path, monkeypatch, change, sentence):
    checkpoints.hf_clip(tmp_path / "clip")
    checkpoints.gemma_directory(tmp_path / "gemma")
    converted(tmp_path / "clip", tmp_path / "run")
    converted(tmp_path / "gemma", tmp_path / "language")
    monkeypatch.chdir(tmp_path)
    config = str(pathlib.Path(__file__).parents[1] / "configs" / "encoder.py:demo")
    with pytest.raises(UserError, match=sentence):
        train.main(["--config", config, "--dry_run", "--config.init_from.workdir=run", *change])
