"""A checkpoint directory of the original's: imported, run, exported again in its layout, and imported once more.

``outputs/webui*`` has the connector of the language model's directory, ``outputs/cli_with_*`` the one in
``model_zoo/TokenMining``.
"""

import dataclasses
import json
import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest

from hilight_jax.core.trees import flatten
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.exporting.exported_model import ExportedChat
from hilight_jax.formats.exporting.hilight import write_hilight
from hilight_jax.formats.importing.hilight import ChatFiles, find_files, import_hilight
from hilight_jax.formats.importing.imported_model import Imported
from hilight_jax.models.hilight import HiLight
from hilight_jax.models.layers import ComputeConfig
from tests.data.conversations.tiny_gemma import PATH as TOKENIZER
from tests.parity.case import Case
from tests.parity.kinds import hilight

# Of the original's tower files, what HiLight holds but does not use; an export keeps it where the towers' runs do.
_NOT_USED = {
    "CLIP-ViP": r"clipmodel\.(text_model\..*|text_projection\.weight|visual_projection\.weight|logit_scale)",
    "Long-CLIP": r"(?!visual\.).*",
}
# A limit of the original's tables; ours has no tables.
_NO_LIMIT = "max_position_embeddings"


def check(case: Case) -> None:
    """Compares what is imported with the sizes of the case, runs it, exports it, and imports the export."""
    pytest.importorskip("torch")
    root = case.path.parent / case.sidecar["directory"]
    _check_files(case, root)
    directory = _language_model(root)
    for part in sorted({match[1] for match in case.names(r"outputs/([^/]+)/.*")}):
        tower = root / "model_zoo/CLIP-ViP" / case.sidecar["vip_file"]
        imported = _import(directory, vision=tower, token_mining=_connector(root, part))
        _check_config(case, imported)
        _run(_Part(case, part), imported)
        with tempfile.TemporaryDirectory() as there:
            shard_bytes = max(file.stat().st_size for file in directory.iterdir())
            _export(imported, pathlib.Path(there), shard_bytes)
            _check_export(root, pathlib.Path(there), tower, part)
            _check_again(imported, _import(_language_model(pathlib.Path(there))))


class _Part:
    """A case as one way of loading the directory sees it: its ``outputs`` are that way's."""

    def __init__(self, case: Case, part: str):
        self._case, self._inside = case, f"outputs/{part}/"
        self.dtype, self.config, self.sidecar = case.dtype, case.config, case.sidecar
        self.tensors = {self._bare(name): x for name, x in case.tensors.items()}

    def input(self, name: str) -> np.ndarray | None:
        """The prompt that is answered is the one whose logits were taken."""
        return self._case.input(name.removeprefix("gen_"))

    def compare(self, name: str, value: Any, quantity: str | None = None) -> None:
        self._case.compare(self._whole(name), value, quantity or name)

    def exact(self, name: str, value: Any) -> None:
        self._case.exact(self._whole(name), value)

    def _bare(self, name: str) -> str:
        return name.replace(self._inside, "outputs/")

    def _whole(self, name: str) -> str:
        return name.replace("outputs/", self._inside)


def _check_files(case: Case, root: pathlib.Path) -> None:
    """The golden itself is whole."""
    sizes = {str(file.relative_to(root)): file.stat().st_size for file in root.rglob("*") if file.is_file()}
    assert sizes == case.sidecar["files"]


def _language_model(root: pathlib.Path) -> pathlib.Path:
    """The one directory with a HiLight's config.json."""
    (found,) = (file.parent for file in root.rglob("config.json") if _object(file).get("model_type") == "hilight_gemma")
    return found


def _connector(root: pathlib.Path, part: str) -> pathlib.Path | None:
    """The file that replaces the connector of the directory, if any does."""
    if part.startswith("webui"):
        return None
    assert part.startswith("cli_with_"), f"outputs/{part}: no rule says which connector it has"
    (found,) = (file for file in (root / "model_zoo/TokenMining").iterdir() if file.suffix in (".bin", ".pt"))
    return found


def _import(directory: pathlib.Path, **given: pathlib.Path | None) -> Imported:
    """The model, read whole."""
    imported = import_hilight(open_foreign(directory), find_files(directory, ChatFiles(**given)))
    return dataclasses.replace(imported, params=jax.tree.map(np.asarray, imported.params))


def _check_config(case: Case, imported: Imported) -> None:
    sizes, config = case.config, imported.model
    vision, frames, mining, gemma = config.vision, config.frames, config.token_mining, config.gemma
    ours = {
        "h": vision.width,
        "vip_mlp": vision.mlp_dim,
        "vip_layers": vision.depth,
        "vip_heads": vision.num_heads,
        "vip_patch": vision.patch_size,
        "res": vision.image_size,
        "ha": frames.embed_dim,
        "lc_layers": frames.depth,
        "lc_width": frames.width,
        "lc_patch": frames.patch_size,
    }
    assert {name: sizes[name] for name in ours if name in sizes} == ours
    assert frames.num_heads == frames.width // 64
    assert (mining.width_video, mining.width_frames) == (vision.width, frames.embed_dim)
    theirs = {
        "vocab_size": gemma.vocab_size,
        "hidden_size": gemma.width,
        "num_hidden_layers": gemma.depth,
        "num_attention_heads": gemma.num_heads,
        "head_dim": gemma.head_dim,
        "num_key_value_heads": gemma.num_kv_heads,
        "intermediate_size": gemma.mlp_dim,
        "hidden_act": gemma.hidden_act,
        "rms_norm_eps": gemma.norm_eps,
        "rope_theta": gemma.rope_base,
    }
    assert {name: sizes["llm"][name] for name in theirs if name in sizes["llm"]} == theirs


def _run(part: _Part, imported: Imported) -> None:
    """Features, logits, the released model's float16 rounding, and a greedy answer."""
    compute = ComputeConfig(dtype=part.dtype, param_dtype=part.dtype)
    model = HiLight(dataclasses.replace(imported.model, compute=compute))
    params = jax.tree.map(lambda x: x.astype(part.dtype), imported.params)
    ids = part.input("input_ids")
    hilight.check_forward(part, model, params, ids)
    if "outputs/generated" in part.tensors:
        hilight.check_generation(part, model, params, ids)


def _export(imported: Imported, directory: pathlib.Path, shard_bytes: int) -> None:
    model = ExportedChat(imported.model, imported.params, ConversationDataConfig(), pathlib.Path(TOKENIZER))
    write_hilight(model, directory, shard_bytes)


def _check_export(root: pathlib.Path, written: pathlib.Path, tower: pathlib.Path, part: str) -> None:
    """Files, keys, names, shapes, dtypes and numbers are the original's."""
    theirs, ours = _language_model(root), _language_model(written)
    assert ours.name == "hilight"
    for file in ("config.json", "generation_config.json"):
        expected, value = _object(theirs / file), _object(ours / file)
        paths = {name for name in expected if name.startswith("mm_vision_tower")}
        assert set(value) == set(expected) - paths, file
        assert {name: x for name, x in value.items() if name != _NO_LIMIT} == {
            name: x for name, x in expected.items() if name not in paths | {_NO_LIMIT}
        }, file
    _check_index(theirs, ours)
    replaced = r"model\.token_mining\..*" if part.startswith("cli_with_") else r"(?!)"
    left = rf"lm_head\.weight|model\.vision_tower(_aux)?\..*|{replaced}"
    _check_weights(theirs, ours, left)
    zoo, our_zoo = root / "model_zoo", written / "model_zoo"
    _check_weights(tower, our_zoo / "CLIP-ViP/pretrain_clipvip_base_16.pt", _NOT_USED["CLIP-ViP"])
    _check_weights(zoo / "Long-CLIP/longclip-B.pt", our_zoo / "Long-CLIP/longclip-B.pt", _NOT_USED["Long-CLIP"])
    if connector := _connector(root, part):
        _check_weights(connector, our_zoo / "TokenMining/token_mining.bin", prefix="model.token_mining.")
    expected, value = (_object(place / "CLIP-ViP/clipvip-vision_config.json") for place in (zoo, our_zoo))
    assert set(value) == set(expected)
    assert value["vision_config"] == expected["vision_config"]
    assert (our_zoo / "LLM/gemma/tokenizer/tokenizer.model").read_bytes() == pathlib.Path(TOKENIZER).read_bytes()


def _check_index(theirs: pathlib.Path, ours: pathlib.Path) -> None:
    """Several files where the original has several, named and indexed the same way."""
    name = "model.safetensors.index.json"
    if not (theirs / name).is_file():
        return
    expected, value = _object(theirs / name), _object(ours / name)
    assert set(value) == set(expected)
    assert value["metadata"] == expected["metadata"]
    assert list(value["weight_map"]) == list(expected["weight_map"])
    assert set(value["weight_map"].values()) == {file.name for file in ours.glob("*.safetensors")}
    for index in (value, expected):
        files = sorted(set(index["weight_map"].values()))
        assert files == [f"model-{i:05}-of-{len(files):05}.safetensors" for i in range(1, len(files) + 1)]


def _check_weights(theirs: pathlib.Path, ours: pathlib.Path, left: str = r"(?!)", prefix: str = "") -> None:
    """Every array of the original's, but those that match ``left``, is in ours: name, shape, dtype and numbers.

    Fine-tuned towers and a connector in a ``.pt`` file have other beginnings of names; ours have those of the files
    that they stand for. Long-CLIP's numbers are as the original's loader rounds them, see GOLDENS 0.6.
    """
    expected, value = (open_foreign(place).weights for place in (theirs, ours))
    named = {prefix + name.removeprefix(prefix).removeprefix("module."): x for name, x in expected.items()}
    named, value = ({name: x for name, x in of.items() if not re.fullmatch(left, name)} for of in (named, value))
    assert sorted(value) == sorted(named), ours.name
    for name, x in named.items():
        assert (value[name].shape, value[name].dtype) == (x.shape, x.dtype), name
        rounded = x.read().astype(np.float16).astype(x.dtype) if theirs.parent.name == "Long-CLIP" else x.read()
        assert value[name].read().tobytes() in (x.read().tobytes(), rounded.tobytes()), name


def _check_again(first: Imported, again: Imported) -> None:
    """An export that is imported is the same model, bit for bit."""
    assert again.model == first.model
    before, after = flatten(first.params), flatten(again.params)
    assert list(before) == list(after)
    for name, x in before.items():
        assert (after[name].dtype, after[name].tobytes()) == (x.dtype, x.tobytes()), name


def _object(path: pathlib.Path) -> Mapping[str, Any]:
    return json.loads(path.read_text())
