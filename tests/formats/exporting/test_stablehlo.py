import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.core.trees import flatten, map_with_path, unflatten
from hilight_jax.data.config import ConversationDataConfig, DataConfig
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.frame_sampling import KeyFrameConfig
from hilight_jax.formats.exporting.exported_model import ExportedChat, ExportedEncoder
from hilight_jax.formats.exporting.quantize import quantize
from hilight_jax.formats.exporting.reference_outputs import fixed_clip
from hilight_jax.formats.exporting.stablehlo import unstack, write_stablehlo
from hilight_jax.formats.exporting.stablehlo_loader import Model
from hilight_jax.formats.exporting.stablehlo_programs import chat_programs, encoder_programs
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.models import hilight, video_text
from hilight_jax.models.clip import TextConfig, normalise
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.video_text import DualEncoder, DualEncoderConfig
from hilight_jax.models.word_tracks import WordTracksConfig
from tests.formats.exporting import runs
from tests.formats.importing import checkpoints

LENGTH = 32
WORD_TRACKS = {"text": TextConfig(), "local": LocalHeadsConfig(), "word_tracks": WordTracksConfig(relation_layers=1)}
# What a user does, in a process that cannot import this package.
PROGRAM = """
import sys
sys.modules["hilight_jax"] = None
sys.path.insert(0, sys.argv[1])
import json, load, numpy as np
from safetensors.numpy import load_file, save_file
model, given = load.Model(sys.argv[1]), load_file(sys.argv[2])
rows = [model.encode("encode_video", clip, given["key_frames"])["video_tokens"] for clip in given["clips"]]
out = {"rows": np.stack(rows)}
for name, batch in json.loads(sys.argv[4]).items():
    ids, clips = [given[f"ids_{i}"].tolist() for i, _ in batch], [[rows[c] for c in some] for _, some in batch]
    out[f"{name}_logits"] = np.asarray(model.prefill(ids, clips, 1)[0])
    out[f"{name}_answers"] = np.array(model.generate(ids, clips, int(sys.argv[5]), ()))
save_file({key: np.ascontiguousarray(x) for key, x in out.items()}, sys.argv[3])
"""


def chat_model(config=runs.SINGLE):
    tokens = config.token_mining.tokens_per_frame
    data = ConversationDataConfig(
        num_frames=12, image_size=16, key_frames=KeyFrameConfig(count=3), num_video_tokens=3 * tokens, max_length=512
    )
    params = checkpoints.random(hilight.param_shapes(config), 5)
    return ExportedChat(config, params, data, checkpoints.TOKENIZER)


def run(directory, arrays, batches):
    save_file(arrays, directory / "given.safetensors")
    files = [str(directory), str(directory / "given.safetensors"), str(directory / "result.safetensors")]
    command = [sys.executable, "-I", "-c", PROGRAM, *files, json.dumps(batches), str(LENGTH)]
    subprocess.run(command, check=True)
    return load_file(directory / "result.safetensors")


MODELS = {"one tower": runs.SINGLE, "two towers": checkpoints.HILIGHT}


@pytest.mark.parametrize(
    ("config", "quantized"),
    [("one tower", False), ("two towers", False), ("one tower", True)],
    ids=["one tower", "two towers", "8 bits"],
)
def test_a_process_without_this_package_gives_the_same_logits_and_answers(tmp_path, config, quantized):
    model = chat_model(MODELS[config])
    errors = write_stablehlo(model, tmp_path, quantized)
    assert bool(errors) == quantized
    clips = np.stack([fixed_clip(12, 16), 255 - fixed_clip(12, 16)])
    keys, rows = np.array([0, 5, 11], np.int32), model.data.num_video_tokens
    video = [VIDEO_ID] * rows
    prompts = [np.array(ids, np.int32) for ids in ([2, 5, 6, *video, 9], [2, 7], [2, *video, 8, *video, 11, 12, 13])]
    shown = [(0,), (), (1, 0)]
    members = {"three": [0, 1, 2]} | ({"one": [0], "text": [1]} if config == "one tower" and not quantized else {})
    batches = {name: [(i, list(shown[i])) for i in some] for name, some in members.items()}
    arrays = {"clips": clips, "key_frames": keys} | {f"ids_{i}": ids for i, ids in enumerate(prompts)}
    found = run(tmp_path, arrays, batches)

    params = widened(model.params) if quantized else model.params
    generator = endless_generator(model, params)
    features = [generator.encode_clip(clip, keys) for clip in clips]
    np.testing.assert_allclose(found["rows"], np.stack([clip.tokens for clip in features]), atol=1e-5)
    asked = [Prompt(ids, tuple(features[c] for c in some)) for ids, some in zip(prompts, shown, strict=True)]
    logits = generator.next_logits(asked)
    answers = [answer.ids.tolist() for answer in generator.generate(asked, SamplingConfig(max_new_tokens=LENGTH))]
    for name, some in members.items():
        np.testing.assert_allclose(found[f"{name}_logits"], logits[some], atol=1e-4)
        assert found[f"{name}_answers"].tolist() == [answers[i] for i in some]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_weights_are_computed_with_as_by_jax(tmp_path, dtype):
    model = chat_model()
    model = dataclasses.replace(model, params=jax.tree.map(lambda x: x.astype(dtype), model.params))
    write_stablehlo(model, tmp_path)
    loaded = Model(tmp_path)
    assert loaded.manifest["cache"]["dtype"] == ("bfloat16" if dtype == "bfloat16" else "float32")
    clip, keys = fixed_clip(12, 16), np.array([0, 5, 11], np.int32)
    rows = loaded.encode("encode_video", clip, keys)["video_tokens"]
    ids = np.array([2, 5, *[VIDEO_ID] * model.data.num_video_tokens, 9], np.int32)

    compute = ComputeConfig(dtype=loaded.manifest["cache"]["dtype"])
    generator = endless_generator(dataclasses.replace(model, config=dataclasses.replace(model.config, compute=compute)))
    features = generator.encode_clip(clip, keys)
    prompt = Prompt(ids, (features,))
    np.testing.assert_allclose(rows, np.asarray(features.tokens, np.float32), atol=1e-4)
    np.testing.assert_allclose(loaded.prefill([ids], [[rows]], 1)[0], generator.next_logits([prompt]), atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"positions": True, "num_heads": 2, "residual": True, "final_norm": True},
        {"structure": "grid_pooling", "positions": True, "residual": True},
    ],
    ids=["options", "grid pooling"],
)
def test_the_program_of_a_clip_carries_the_options_of_token_mining(options):
    model = chat_model(
        dataclasses.replace(runs.SINGLE, token_mining=dataclasses.replace(runs.SINGLE.token_mining, **options))
    )
    function, arguments = chat_programs(model, flatten(model.params))["encode_video"]
    program = jax.export.export(jax.jit(function))(*arguments)
    weights = {name: x for name, x in flatten(model.params).items() if name in arguments[0]}
    clip, keys = fixed_clip(12, 16)[None], np.array([[0, 5, 11]], np.int32)
    variables, run = hilight.variables(model.params), hilight.HiLight(model.config).apply
    seen = run(variables, normalise(clip), keys, method="encode_video")
    expected = run(variables, seen["clip_tokens"], seen["frame_features"], method="mine")["tokens"]
    np.testing.assert_allclose(program.call(weights, clip, keys)["video_tokens"], expected, atol=1e-5)


def test_answers_end_before_a_stop_id_each_by_itself(tmp_path):
    model = chat_model()
    write_stablehlo(model, tmp_path)
    loaded = Model(tmp_path)
    prompts = [[2, 7], [2, 8, 9, 10]]
    whole = loaded.generate(prompts, [[], []], 12, ())
    stop = next(token for token in whole[0] if token not in whole[1])
    assert loaded.generate(prompts, [[], []], 12, (stop,)) == [whole[0][: whole[0].index(stop)], whole[1]]


def test_8_bits_of_bfloat16_weights_are_computed_with_as_by_jax(tmp_path):
    model = chat_model()
    compute = ComputeConfig(dtype="bfloat16")
    params = jax.tree.map(lambda x: x.astype("bfloat16"), model.params)
    model = dataclasses.replace(model, params=params, config=dataclasses.replace(model.config, compute=compute))
    write_stablehlo(model, tmp_path, quantized=True)
    prompts = [[2, 5, 6, 7], [2, 8]]
    logits = Model(tmp_path).prefill(prompts, [[], []], 1)[0]
    asked = [Prompt(np.array(ids, np.int32), ()) for ids in prompts]
    expected = endless_generator(model, widened(params)).next_logits(asked)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_cache_is_written_in_place(tmp_path):
    write_stablehlo(chat_model(), tmp_path)
    loaded = Model(tmp_path)
    _, before, positions = loaded.prefill([[2, 5], [2]], [[], []], 4)
    after = loaded.programs["decode"](np.array([6, 7], np.int32), positions, before)["cache"]
    assert all(x.is_deleted() for x in before.values())
    assert np.asarray(after["mask"]).tolist() == [
        [True, True, True, False, False, False],
        [False, *[True] * 2, *[False] * 3],
    ]
    assert int(after["length"]) == 3


def endless_generator(model, params=None):
    """Answers run to their full length, whatever they say."""
    tokenizer = GemmaTokenizer(checkpoints.TOKENIZER)
    tokenizer.stop_ids = ()
    return Generator(model.config, params or model.params, tokenizer, 512)


def widened(params):
    """The weights in 8 bits, multiplied out."""
    flat = flatten(quantize(params).params)
    pairs = {path.removesuffix("/int8") for path in flat if path.endswith("/int8")}
    assert len(pairs) == 8  # Seven maps of all layers at once, and the table.
    kept = {path: x for path, x in flat.items() if path.rpartition("/")[0] not in pairs}
    return unflatten(
        kept | {path: np.asarray(flat[f"{path}/int8"]) * np.asarray(flat[f"{path}/scale"]) for path in pairs}
    )


def test_the_manifest_tells_a_stranger_what_to_do(tmp_path):
    write_stablehlo(chat_model(), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    tokenizer = GemmaTokenizer(checkpoints.TOKENIZER)
    assert (manifest["num_frames"], manifest["image_size"], manifest["num_key_frames"]) == (12, 16, 3)
    assert (manifest["video_id"], manifest["video_rows"]) == (VIDEO_ID, 12)
    assert manifest["stop_ids"] == list(tokenizer.stop_ids)
    assert manifest["platforms"] == ["cpu", "cuda", "tpu"]
    assert set(manifest["programs"]) == {"encode_video", "prefill", "decode"}
    weights = load_file(tmp_path / "weights.safetensors")
    assert {name for reads in manifest["programs"].values() for name in reads} == set(weights)


def test_the_programs_are_lowered_for_cuda_and_tpu_too(tmp_path):
    write_stablehlo(chat_model(), tmp_path)
    for name in ("encode_video", "prefill", "decode"):
        program = jax.export.deserialize(bytearray((tmp_path / f"{name}.stablehlo").read_bytes()))
        assert program.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("local", [runs.ENCODER.local, LocalHeadsConfig(levels=())], ids=["two levels", "no heads"])
def test_an_encoder_gives_embeddings_and_local_features(tmp_path, local):
    config = dataclasses.replace(runs.ENCODER, local=local)
    params = checkpoints.random(video_text.param_shapes(config), 6)
    model = ExportedEncoder(config, params, DataConfig(num_frames=12, image_size=16, text_length=20))
    write_stablehlo(model, tmp_path)
    clip, ids = fixed_clip(12, 16), np.zeros(20, np.int32)
    ids[:4] = 49406, 320, 736, 49407
    program = (
        "import sys; sys.modules['hilight_jax'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import load; from safetensors.numpy import load_file, save_file\n"
        "m, g = load.Model(sys.argv[1]), load_file(sys.argv[1] + '/given.safetensors')\n"
        "v, t = m.encode('encode_video', g['clip']), m.encode('encode_text', g['ids'], g['ids'] > 0)\n"
        "out = {k: x for d in (v, t) for k, x in d.items()}\n"
        "for k in ('video_local', 'text_local'): out |= {f'{k}_{i}': x for i, x in enumerate(out.pop(k))}\n"
        "save_file({k: x.copy() for k, x in out.items()}, sys.argv[1] + '/result.safetensors')\n"
    )
    save_file({"clip": clip, "ids": ids}, tmp_path / "given.safetensors")
    subprocess.run([sys.executable, "-I", "-c", program, str(tmp_path)], check=True)
    found = load_file(tmp_path / "result.safetensors")
    run = jax.jit(DualEncoder(config).apply)
    ours = run({"params": params}, normalise(jnp.asarray(clip[None])), ids[None], ids[None] > 0)
    expected = {name: ours[name] for name in ("video_embeds", "text_embeds")}
    for name in ("video_local", "text_local"):
        expected |= {f"{name}_{i}": x for i, x in enumerate(ours[name])}
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        np.testing.assert_allclose(found[name], x[0], atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantized", "parts"),
    [(False, {}), (True, {}), (True, WORD_TRACKS)],
    ids=["float32", "8 bits", "8 bits, word tracks"],
)
def test_the_real_size_is_lowered_without_reading_a_weight(quantized, parts):
    config = HiLightConfig(**parts)
    params = unread(hilight.param_shapes(config))
    data = ConversationDataConfig(things=runs.THINGS, num_video_tokens=386) if parts else ConversationDataConfig()
    model = ExportedChat(config, params, data, checkpoints.TOKENIZER)
    unstacked = unstack(model.params)
    weights = flatten(quantize(unstacked).params if quantized else unstacked)
    assert sum(x.dtype == np.int8 for x in weights.values()) == (18 * 7 + 1 if quantized else 0)
    assert_lowers(chat_programs(model, weights))


@pytest.mark.slow
def test_the_real_encoder_is_lowered_without_reading_a_weight():
    config = DualEncoderConfig()
    params = unread(video_text.param_shapes(config))
    assert_lowers(encoder_programs(ExportedEncoder(config, params, DataConfig()), flatten(params)))


def unread(shapes):
    """Weights that fail whoever reads them."""

    def leaf(path, x):
        def read():
            raise AssertionError(f"{path} was read")

        return LazyArray(x.shape, np.float32, read)

    return map_with_path(leaf, shapes)


def assert_lowers(programs):
    for name, (function, arguments) in programs.items():
        content = jax.export.export(jax.jit(function), platforms=("cpu", "cuda", "tpu"))(*arguments).serialize()
        assert len(content) < 2_000_000, name
