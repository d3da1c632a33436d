"""Writes the model card of an export: loading, ancestry, measured figures and limits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Instructions for loading, one file for each format.
_LOADING = Path(__file__).parent / "model_cards"
_LIMITS = (
    "It answers what it was trained on: billiards clips of a few seconds, seen through a few frames spread evenly over "
    "them. What happens between two frames it has not seen.",
    "Frames are squeezed to a square, whatever their shape.",
    "Nothing was done against wrong, biased or made-up answers; check them before you rely on them.",
)


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
        _loading(record["format"] + ("_encoder" if stablehlo and record["stage"] == "encoder" else "")),
        *([_loading("word_tracks")] if record["model"].get("word_tracks") else ()),
        *([_loading("adapter")] if record["lora"] == "kept" else ()),
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


def _loading(name: str) -> str:
    return (_LOADING / f"{name}.md").read_text(encoding="utf-8")


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
        if record.get("command"):
            number = f", on {record['examples']:,} examples" if record.get("examples") else ""
            lines.append(f"{indent}  - `{record['command']}`{number}")
    for name, parent in record.get("started_from", {}).items():
        lines += [f"{indent}  - {name}:", *_origin(parent, depth + 2)]
    return lines
