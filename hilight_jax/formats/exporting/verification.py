"""Runs an export as its user would, in a process of its own, on the fixed clip that lies in it."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.exporting.exportable import ExportedChat
from hilight_jax.formats.exporting.fixed_clip import measure
from hilight_jax.formats.exporting.reference_outputs import FILE, Fingerprint
from hilight_jax.formats.importing.hilight import find_tokenizer
from hilight_jax.formats.importing.imported_model import set_aside
from hilight_jax.formats.importing.own_exports import import_exported
from hilight_jax.formats.importing.workdirs import run_config

# Every program reads the clip and writes what the export made of it. None of them can import this package.
_BEGIN = """
import sys
sys.modules["hilight_jax"] = None
root, clip, result = sys.argv[1:]
import numpy as np
from safetensors.numpy import load_file, save_file
given = load_file(clip)
"""
_END = """
save_file({name: np.ascontiguousarray(x) for name, x in out.items()}, result)
"""
_STABLEHLO_CHAT = """
sys.path.insert(0, root)
import load
model = load.Model(root)
ids = given["ids"].tolist()
rows = model.encode("encode_video", given["frames"], given["key_frames"])["video_tokens"]
logits = np.asarray(model.prefill([ids], [[rows]], 1)[0])[0]
answer = model.generate([ids], [[rows]], len(given["answer_ids"]), ())[0]
out = {"video_tokens": rows, "logits": logits, "answer_ids": np.array(answer, np.int32)}
"""
_STABLEHLO_ENCODER = """
sys.path.insert(0, root)
import load
model = load.Model(root)
out = {"video_embeds": model.encode("encode_video", given["frames"])["video_embeds"],
       "text_embeds": model.encode("encode_text", given["text_ids"], given["text_mask"])["text_embeds"]}
"""
_TORCH = """
import torch
from transformers import AutoModel, AutoModelForCausalLM
mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
frames = (given["frames"].astype(np.float32) / 255 - mean) / std
pixels = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))[None]
"""
_HUGGINGFACE = """
model = AutoModelForCausalLM.from_pretrained(root, trust_remote_code=True, dtype="auto").eval()
model.generation_config.eos_token_id = None
keys = torch.from_numpy(given["key_frames"]).long()[None]
ids = torch.from_numpy(given["ids"]).long()[None]
ids[ids < 0] = model.config.video_token_id
inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values_videos": pixels, "key_frames": keys}
with torch.no_grad():
    rows = model.get_video_features(pixels, keys)[0].float().numpy()
    logits = model(**inputs).logits[0, -1].float().numpy()
    answer = model.generate(**inputs, max_new_tokens=len(given["answer_ids"]), do_sample=False)
out = {"video_tokens": rows, "logits": logits, "answer_ids": answer[0, ids.shape[1]:].numpy().astype(np.int32)}
"""
_HUGGINGFACE_ENCODER = """
model = AutoModel.from_pretrained(root + "/huggingface", trust_remote_code=True, dtype="auto").eval()
ids, mask = (torch.from_numpy(given[name]).long()[None] for name in ("text_ids", "text_mask"))
with torch.no_grad():
    out = {"video_embeds": model.get_video_features(pixels)[0].float().numpy(),
           "text_embeds": model.get_text_features(ids, mask)[0].float().numpy()}
"""


def outputs(directory: Path, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What an export makes of its fixed clip, by the names of ``Fingerprint``.

    The original's layout is read by this package, for the original's code is not ours to ship: its importer is held to
    what that code loads by reference numbers.

    Raises:
      CheckpointError: The export does not run; what its program said last.
    """
    if record["format"] == "hilight":
        return dict(_imported(directory).arrays)
    if record["format"] == "encoder":
        _compare_originals(directory)
    chat = record["stage"] != "encoder"
    body = {
        "stablehlo": _STABLEHLO_CHAT if chat else _STABLEHLO_ENCODER,
        "huggingface": _TORCH + _HUGGINGFACE,
        "encoder": _TORCH + _HUGGINGFACE_ENCODER,
    }[record["format"]]
    with tempfile.TemporaryDirectory() as place:
        result = Path(place) / "result.safetensors"
        command = [sys.executable, "-I", "-c", _BEGIN + body + _END]
        inputs = [str(directory.resolve()), str((directory / FILE).resolve()), str(result)]
        ran = subprocess.run([*command, *inputs], capture_output=True, text=True, cwd=place)
        if ran.returncode:
            raise CheckpointError(_failure(directory, ran.stderr))
        return load_file(result)


def _failure(directory: Path, said: str) -> str:
    last = (said.strip().splitlines() or ["nothing"])[-1]
    if "No module named 'torch'" in said or "No module named 'transformers'" in said:
        return (
            f"'{directory}' runs on torch and transformers, which are not installed here; "
            f"pip install torch transformers, and verify again."
        )
    return f"'{directory}' does not run: {last}"


def _imported(directory: Path) -> Fingerprint:
    """What this package makes of a directory in the original's layout."""
    imported = import_exported(directory)
    model = ExportedChat(
        imported.model, imported.params, run_config(imported).data, find_tokenizer(directory / "hilight")
    )
    return measure(model)


def _compare_originals(directory: Path) -> None:
    """Both forms of an encoder hold the same weights.

    Raises:
      CheckpointError: They do not.
    """
    original, _ = set_aside(open_foreign(directory / "original" / "clip_vip.pt").weights)
    other = open_foreign(directory / "huggingface").weights
    for name, x in original.items():
        same = other.get(name.removeprefix("clipmodel."))
        if same is None or not np.array_equal(np.asarray(x), np.asarray(same)):
            raise CheckpointError(f"'{name}' differs between the two forms in '{directory}'; export the model again.")
