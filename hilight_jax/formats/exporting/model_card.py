"""Writes the model card of an export: loading, ancestry, measured figures and limits."""

from collections.abc import Mapping, Sequence
from typing import Any

_LOADING = {
    "hilight": """\
The layout of HiLight's original code (motern88/HiLight): `hilight/` is the language model with token mining,
`model_zoo/` holds both towers, `token_mining.bin` and the tokenizer. Its `load_pretrained_model` loads it unchanged.
""",
    "huggingface": """\
```python
from transformers import AutoModelForCausalLM, AutoProcessor

model = AutoModelForCausalLM.from_pretrained("DIR", trust_remote_code=True)
processor = AutoProcessor.from_pretrained("DIR", trust_remote_code=True)
talk = [{"role": "user", "content": [{"type": "video", "path": "shot.mp4"}, {"type": "text", "text": "Who won?"}]}]
inputs = processor.apply_chat_template(
    talk, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
answer = model.generate(**inputs, max_new_tokens=64)
print(processor.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```
""",
    "stablehlo": """\
Programs for CPU, CUDA and TPU with the weights beside them. `load.py` needs jax and safetensors, nothing else; reading
videos and `tokenizer.model` is the caller's. `manifest.json` describes frames and prompts; here the fixed clip:

```python
import sys

from safetensors.numpy import load_file

sys.path.insert(0, "DIR")
import load

model, clip = load.Model("DIR"), load_file("DIR/fingerprint.safetensors")
rows = model.encode("encode_video", clip["frames"], clip["key_frames"])["video_tokens"]
print(model.generate([clip["ids"].tolist()], [[rows]]))  # Compiled for each new length of a prompt: seconds, once.
```
""",
    "encoder": """\
`original/` is a state dict in CLIP-ViP's own names; `huggingface/` loads with transformers:

```python
from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained("DIR/huggingface", trust_remote_code=True)
processor = AutoProcessor.from_pretrained("DIR/huggingface", trust_remote_code=True)
inputs = processor(text=["the red ball is potted"], videos=["shot.mp4"], return_tensors="pt")
print(model(**inputs).logits_per_video, model.word_maps(**inputs).shape)  # [B, tokens, frames, patches]
```
""",
}
_LIMITS = (
    "It answers what it was trained on: billiards clips of a few seconds, seen through a few frames spread evenly over "
    "them. What happens between two frames it has not seen.",
    "Frames are squeezed to a square, whatever their shape.",
    "Nothing was done against wrong, biased or made-up answers; check them before you rely on them.",
)


_LOADING_ENCODER = """\
Programs for CPU, CUDA and TPU with the weights beside them. `load.py` needs jax and safetensors, nothing else:

```python
import load

model = load.Model("DIR")  # With DIR on the path; manifest.json describes frames and texts.
video = model.encode("encode_video", frames)["video_embeds"]
text = model.encode("encode_text", ids, mask)["text_embeds"]
```
"""


def model_card(record: Mapping[str, Any]) -> str:
    """Writes the card of an export from its record, see ``exporting.export``."""
    stablehlo = record["format"] == "stablehlo"
    lines = ["---", "library_name: transformers" if record["format"] == "huggingface" else "library_name: hilight_jax"]
    lines += ["tags: [video-language, billiards, hilight]", "---", "", f"# {_title(record)}", ""]
    lines += [
        f"Exported by hilight_jax {record['hilight_jax']} as `{record['format']}`, {record['parameters']:,} parameters "
        f"in {record['dtype']}{_quantized(record)}, from step {record['step']} of a run of the stage "
        f"`{record['stage']}`.{_lora(record)}",
        "",
        "## Load it",
        "",
        _LOADING_ENCODER if stablehlo and record["stage"] == "encoder" else _LOADING[record["format"]],
        *(_ADAPTER if record["lora"] == "kept" else ()),
        f"`fingerprint.safetensors` holds a fixed clip and what the {_whose(record)} makes of it; "
        "`python -m hilight_jax.export --verify DIR` compares."
        if record["fingerprint"]
        else "It was exported without reference outputs, so it cannot be verified.",
        "",
    ]
    if record["metrics"]:
        lines += ["## Measured", "", "On the validation data of its training, at its last evaluation:", ""]
        lines += ["| figure | value |", "|---|---|"]
        lines += [f"| {name.removeprefix('validation/')} | {value:.4g} |" for name, value in record["metrics"].items()]
        lines += [""]
    lines += ["## Where it comes from", "", *_origin(record["ancestry"], 0), ""]
    lines += ["## Limits", "", *(f"- {limit}" for limit in (*_LIMITS, *record["limits"])), ""]
    return "\n".join(lines)


_ADAPTER = (
    "That is the model before it was tuned. With its adapter, of PEFT's, it is the tuned one:",
    "",
    "```python",
    "from peft import PeftModel",
    "",
    'model = PeftModel.from_pretrained(model, "DIR/adapter")',
    "```",
    "",
)


def _whose(record: Mapping[str, Any]) -> str:
    return "model without its adapter" if record["lora"] == "kept" else "trained model"


def _title(record: Mapping[str, Any]) -> str:
    return "CLIP-ViP+, a video encoder" if record["stage"] == "encoder" else "HiLight, a chat model for videos"


def _quantized(record: Mapping[str, Any]) -> str:
    return f", its linear maps in {record['quantize']}" if record["quantize"] else ""


def _lora(record: Mapping[str, Any]) -> str:
    said = {"merged": " LoRA's deltas are merged into it.", "kept": " Its LoRA adapter is in `adapter/`, not merged."}
    return said.get(record["lora"], "")


def _origin(record: Mapping[str, Any], depth: int) -> Sequence[str]:
    """One line per run and file, indented by generation."""
    indent = "  " * depth
    if not record:
        return [f"{indent}- not recorded"]
    if record.get("made_by") == "convert":
        lines = [f"{indent}- converted from {record['kind']}"]
        lines += [
            f"{indent}  - `{file['path']}`, {file['bytes']:,} bytes, sha256 `{file['sha256']}`"
            for file in record["files"]
        ]
    else:
        lines = [f"{indent}- trained: stage `{record.get('stage')}`, preset `{record.get('preset')}`"]
    for name, parent in record.get("started_from", {}).items():
        lines += [f"{indent}  - {name}:", *_origin(parent, depth + 2)]
    return lines
