"""Verifies an export: runs it as its user would, in a process of its own, and compares with its reference outputs."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from hilight_jax.core.atomic_files import read_object
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import CheckpointError
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.exporting.exported_model import ExportedChat, open_run
from hilight_jax.formats.exporting.packed import FORMAT, unpack
from hilight_jax.formats.exporting.reference_outputs import FILE, compute_reference_outputs, read_reference_outputs
from hilight_jax.formats.importing.hilight import find_tokenizer
from hilight_jax.formats.importing.imported_model import set_aside
from hilight_jax.formats.importing.own_exports import RECORD, import_exported
from hilight_jax.formats.importing.workdirs import run_config
from hilight_jax.runs.ancestry import sha256

# The largest deviation of an output, as a share of its largest value (of 1 at least): other programs sum in another
# order, half precision is rounded on the way, 8 bits are rounded beforehand.
_TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
_INT8_TOLERANCE = 0.1

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
clip = model.encode("encode_video", given["frames"], given["key_frames"])
rows = clip["video_tokens"]
shown = clip if "patch_features" in clip else rows  # Loaders of old exports take rows alone.
logits = np.asarray(model.prefill([ids], [[shown]], 1)[0])[0]
answer = model.generate([ids], [[shown]], len(given["answer_ids"]), ())[0]
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
from transformers import AutoModel, AutoModelForCausalLM, AutoProcessor
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
if getattr(model.config, "word_config", None) is not None:
    processor = AutoProcessor.from_pretrained(root, trust_remote_code=True)
    inputs |= {name: torch.tensor(np.array(x)) for name, x in processor.find_words(ids.numpy()).items()}
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


def verify(directory: Path) -> dict[str, Any]:
    """Runs an export on its fixed clip.

    Returns:
      ``deviations`` by output (the largest absolute difference, or the number of tokens that differ), ``allowed``
      deviations, files that ``changed``, ``same``, and ``why`` not.

    Raises:
      CheckpointError: It is no export, has no reference outputs, or does not run.
    """
    path = directory / RECORD
    if not path.is_file():
        raise CheckpointError(f"'{directory}' is no export of this package: it has no {RECORD}.")
    record = read_object(path, CheckpointError, "export the model again")
    expected = read_reference_outputs(directory)
    files = record.get("files", {})
    there = {name: sha256(directory / name) for name in files if (directory / name).is_file()}
    changed = [name for name, known in files.items() if there.get(name) != known]
    log(f"running the {record['format']} export in {directory}")
    share = _INT8_TOLERANCE if record["quantize"] else _TOLERANCES[record["dtype"]]
    deviations, allowed = {}, {}
    for name, found in _outputs(directory, record).items():
        wanted = np.asarray(expected[name])
        if found.shape != wanted.shape:
            raise CheckpointError(f"the exported model gives '{name}' of shape {found.shape}, expected {wanted.shape}.")
        if np.issubdtype(wanted.dtype, np.integer):
            deviations[name] = float(np.sum(found != wanted))
            if share == _TOLERANCES["float32"]:
                allowed[name] = 0.0  # Every token the same; rounded weights may choose others.
        else:
            deviations[name] = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())
            allowed[name] = share * max(1.0, float(np.abs(wanted).max()))
    wrong = [name for name, most in allowed.items() if not deviations[name] <= most]
    why = "" if not wrong else f": {wrong[0]} may be off by {allowed[wrong[0]]:.2g} in rounding, no more"
    if changed:
        why = f": {', '.join(changed[:3])} changed since, or is gone"
    same = not wrong and not changed
    return {"deviations": deviations, "allowed": allowed, "changed": changed, "same": same, "why": why}


def _outputs(directory: Path, record: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
    """The outputs of an export for its fixed clip, named as in ``compute_reference_outputs``.

    The original's layout is read by this package, since the original's code is not part of it: the importer is tested
    against what that code loads by reference numbers.

    Raises:
      CheckpointError: The export does not run; the last line of its program's errors.
    """
    if record["format"] == "hilight":
        imported = import_exported(directory)
        data, tokenizer = run_config(imported).data, find_tokenizer(directory / "hilight")
        return compute_reference_outputs(ExportedChat(imported.model, imported.params, data, tokenizer))
    if record["format"] == FORMAT:
        with tempfile.TemporaryDirectory() as place:
            unpack(directory, Path(place) / "runs")
            model = open_run(Path(place) / "runs" / "chat", "latest", "float32", merge=True).model
            return compute_reference_outputs(model)
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


def _compare_originals(directory: Path) -> None:
    """Checks that both forms of an encoder, where it has both, hold the same weights.

    Raises:
      CheckpointError: They do not.
    """
    if not (directory / "original").is_dir():
        return  # Of an encoder that CLIP-ViP's names cannot hold.
    original, _ = set_aside(open_foreign(directory / "original" / "clip_vip.pt").weights)
    other = open_foreign(directory / "huggingface").weights
    for name, x in original.items():
        same = other.get(name.removeprefix("clipmodel."))
        if same is None or not np.array_equal(np.asarray(x), np.asarray(same)):
            raise CheckpointError(f"'{name}' differs between the two forms in '{directory}'; export the model again.")
