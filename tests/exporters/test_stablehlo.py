import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.special_ids import VIDEO_ID
from hilight_jax.core.trees import flatten, map_with_path
from hilight_jax.data.config import DataConfig
from hilight_jax.data.conversation_config import ConversationDataConfig
from hilight_jax.data.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.key_frames import KeyFrameConfig
from hilight_jax.exporters.exported import ExportedChat, ExportedEncoder
from hilight_jax.exporters.fingerprint import fixed_clip
from hilight_jax.exporters.stablehlo import chat_programs, unstack, write_stablehlo
from hilight_jax.models import hilight, video_text
from hilight_jax.models.hilight import HiLightConfig
from hilight_jax.models.pixels import normalise
from hilight_jax.models.video_text import DualEncoder
from hilight_jax.serving.generate import Generator, Prompt
from hilight_jax.serving.sampling import SamplingConfig
from tests.exporters import runs
from tests.importers import checkpoints

LENGTH = 32
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


@pytest.mark.parametrize("quantized", [False, True])
def test_a_process_without_this_package_gives_the_same_logits_and_answers(tmp_path, quantized):
    model = chat_model()
    errors = write_stablehlo(model, tmp_path, quantized)
    assert bool(errors) == quantized
    clips = np.stack([fixed_clip(12, 16), 255 - fixed_clip(12, 16)])
    keys, rows = np.array([0, 5, 11], np.int32), model.data.num_video_tokens
    video = [VIDEO_ID] * rows
    prompts = [np.array(ids, np.int32) for ids in ([2, 5, 6, *video, 9], [2, 7], [2, *video, 8, *video, 11, 12, 13])]
    shown = [(0,), (), (1, 0)]
    batches = {"one": [(0, [0])], "three": [(i, list(some)) for i, some in enumerate(shown)]}
    arrays = {"clips": clips, "key_frames": keys} | {f"ids_{i}": ids for i, ids in enumerate(prompts)}
    found = run(tmp_path, arrays, batches)

    tokenizer = GemmaTokenizer(checkpoints.TOKENIZER)
    tokenizer.stop_ids = ()
    generator = Generator(model.config, model.params, tokenizer, 512)
    features = [generator.encode_clip(clip, keys) for clip in clips]
    np.testing.assert_allclose(found["rows"], np.stack([clip.tokens for clip in features]), atol=1e-5)
    asked = [Prompt(ids, tuple(features[c] for c in some)) for ids, some in zip(prompts, shown, strict=True)]
    logits = generator.next_logits(asked)
    tolerance = 1e-4 if not quantized else 0.05 * np.abs(logits).max()
    np.testing.assert_allclose(found["three_logits"], logits, atol=tolerance)
    np.testing.assert_allclose(found["one_logits"], logits[:1], atol=tolerance)
    if not quantized:
        answers = generator.generate(asked, SamplingConfig(max_new_tokens=LENGTH))
        assert found["three_answers"].tolist() == [answer.ids.tolist() for answer in answers]
        assert found["one_answers"].tolist() == found["three_answers"][:1].tolist()


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


def test_an_encoder_gives_embeddings_and_local_features(tmp_path):
    params = checkpoints.random(video_text.param_shapes(runs.ENCODER), 6)
    model = ExportedEncoder(runs.ENCODER, params, DataConfig(num_frames=12, image_size=16, text_length=20))
    write_stablehlo(model, tmp_path)
    clip, ids = fixed_clip(12, 16), np.zeros(20, np.int32)
    ids[:4] = 49406, 320, 736, 49407
    program = (
        "import sys; sys.modules['hilight_jax'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import load; from safetensors.numpy import load_file, save_file\n"
        "m, g = load.Model(sys.argv[1]), load_file(sys.argv[1] + '/given.safetensors')\n"
        "v, t = m.encode('encode_video', g['clip']), m.encode('encode_text', g['ids'], g['ids'] > 0)\n"
        "save_file({'v': v['video_embeds'].copy(), 't': t['text_embeds'].copy(), "
        "'l': v['video_local'][0].copy()}, sys.argv[1] + '/result.safetensors')\n"
    )
    save_file({"clip": clip, "ids": ids}, tmp_path / "given.safetensors")
    subprocess.run([sys.executable, "-I", "-c", program, str(tmp_path)], check=True)
    found = load_file(tmp_path / "result.safetensors")
    encoder = DualEncoder(runs.ENCODER)
    video = encoder.apply({"params": params}, normalise(jnp.asarray(clip[None])), method="encode_video")
    text = encoder.apply({"params": params}, ids[None], ids[None] > 0, method="encode_text")
    np.testing.assert_allclose(found["v"], video["video_embeds"][0], atol=1e-5)
    np.testing.assert_allclose(found["t"], text["text_embeds"][0], atol=1e-5)
    np.testing.assert_allclose(found["l"], video["video_local"][0][0], atol=1e-5)


@pytest.mark.slow
def test_the_real_size_is_lowered_without_reading_a_weight():
    config = HiLightConfig()

    def unread(_, x):
        def read():
            raise AssertionError("a weight was read")

        return LazyArray(x.shape, np.float32, read)

    params = map_with_path(unread, hilight.param_shapes(config))
    model = ExportedChat(config, params, ConversationDataConfig(), checkpoints.TOKENIZER)
    weights = flatten(unstack(model.params))
    for name, (function, arguments) in chat_programs(model, weights).items():
        content = jax.export.export(jax.jit(function), platforms=("cpu", "cuda", "tpu"))(*arguments).serialize()
        assert len(content) < 2_000_000, name
