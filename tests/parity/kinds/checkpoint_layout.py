"""Names, shapes, dtypes, configuration keys and files of the original's checkpoints, as our export writes them.

The numbers stand in the sidecar itself. Models of its sizes are exported with their arrays described, never read; what
the original's loaders do is asked of a tiny model, written and imported.
"""

import dataclasses
import json
import math
import pathlib
import re
import tempfile
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import jax
import numpy as np
import pytest

from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import flatten
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.formats import clip_names, hilight_names, long_clip_names
from hilight_jax.formats.checkpoint_files import Foreign, open_foreign
from hilight_jax.formats.exporting import hilight as exporter
from hilight_jax.formats.exporting.exported_model import ExportedChat
from hilight_jax.formats.importing import clip, hilight
from hilight_jax.formats.torch_files import write_torch_file
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import GemmaConfig, gemma_config_from_json
from hilight_jax.models.hilight import param_shapes
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.long_clip import FrameConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig
from tests.data.conversations.tiny_gemma import PATH as TOKENIZER
from tests.models import tiny_hilight
from tests.parity.case import Case

DESCRIPTION = {"kind", "name", "case", "source", "notes"}
# Of config.json: a limit of the original's tables, which ours has not; what training may add to it.
_NO_LIMIT = "max_position_embeddings"
_ADDED = re.compile(r"mm_vision_tower(_aux)?|tokenizer_\w+")
# What the original alone does, and what has no counterpart: its random values, its crashes, its answers.
_THEIRS = re.compile(
    r"attn_implementation.*|missing mm_vision_tower.*|wrong token_mining prefix.*|.*RANDOM.*|generate.*"
)
# A model of widths as small as the original's rules allow.
_TINY = HiLightConfig(
    VisionConfig(image_size=8, patch_size=4, width=12, depth=2, num_heads=2, mlp_dim=10),
    FrameConfig(image_size=8, patch_size=4, width=64, depth=2, num_heads=1, mlp_dim=256, embed_dim=6),
    TokenMiningConfig(width_video=12, width_frames=6, width_out=8),
    GemmaConfig(vocab_size=20, width=8, depth=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp_dim=10),
)


def check(case: Case) -> None:
    """Compares every section; one that no rule matches fails by name."""
    sidecar = case.sidecar
    tensors = {"llm_tensors", "clipvip_pt_tensors", "longclip_pt_tensors", "token_mining_bin", "llm_params"}
    rules: Mapping[str, Callable[[Any], None]] = {
        "config_json": _check_config,
        "directory": _check_directory,
        "checks": _check_facts,
    }
    described = {name for name in sidecar if name.endswith("_note")} | DESCRIPTION
    unmatched = set(sidecar) - set(rules) - tensors - described
    assert not unmatched, f"{case.name}: matched by no rule: {', '.join(sorted(unmatched))}"
    for name, rule in rules.items():
        if name in sidecar:
            rule(sidecar[name])
    _check_tensors(sidecar)


def _check_tensors(sidecar: Mapping[str, Any]) -> None:
    """Every file of a model of these sizes holds these names, of these shapes, and as many numbers."""
    model = _described(sidecar)
    dtype = np.dtype(sidecar["config_json"]["torch_dtype"])
    language = {name: shape for name, shape in sidecar["llm_tensors"].items() if name != "lm_head.weight"}
    golden = {
        exporter.LANGUAGE_MODEL: language,
        exporter.VIDEO_TOWER: sidecar["clipvip_pt_tensors"],
        exporter.FRAME_TOWER: sidecar["longclip_pt_tensors"],
        exporter.TOKEN_MINING: sidecar["token_mining_bin"],
    }
    written = _record(model)
    assert set(written) == set(golden)
    for file, shapes in golden.items():
        ours = {_any_layer(name): list(x.shape) for name, x in written[file].items()}
        assert ours == {_any_layer(name): shape for name, shape in shapes.items()}, file
        kinds = {name: np.int64 if name.endswith("position_ids") else dtype for name in written[file]}
        assert {name: x.dtype for name, x in written[file].items()} == kinds, file
    mining = sum(math.prod(x.shape) for x in written[exporter.TOKEN_MINING].values())
    counts = {"gemma": _count(written[exporter.LANGUAGE_MODEL]) - mining, "token_mining": mining}
    counts |= {"clipvip": _count(written[exporter.VIDEO_TOWER]), "longclip_B": _count(written[exporter.FRAME_TOWER])}
    counts["total"] = sum(counts.values())
    assert {name: counts[name] for name in sidecar["llm_params"]} == sidecar["llm_params"]
    # Where the towers' own runs are gone, the video tower lacks weights that are never read, and Long-CLIP is complete.
    bare = _record(dataclasses.replace(model, extra={}))
    lacking = {"clipmodel.logit_scale", "clipmodel.visual_projection.weight"} & set(sidecar["clipvip_pt_tensors"])
    assert set(written[exporter.VIDEO_TOWER]) - set(bare[exporter.VIDEO_TOWER]) == lacking
    for name, shape in sidecar["longclip_pt_tensors"].items():
        x = bare[exporter.FRAME_TOWER][name.replace("{i}", "0")]
        assert len(x.shape) == len(shape), name
        assert not name.startswith("visual.") or list(x.shape) == shape, name
    texts = clip.import_long_clip(Foreign(pathlib.Path("stand-in"), bare[exporter.FRAME_TOWER], {}, ()))
    assert texts.model.text.max_length == sidecar["longclip_pt_tensors"]["positional_embedding"][0]


def _described(sidecar: Mapping[str, Any]) -> ExportedChat:
    """The model that the sidecar's shapes are of, as many layers deep as its counts say."""
    counts = sidecar["llm_params"]
    language = {name: shape for name, shape in sidecar["llm_tensors"].items() if name != "lm_head.weight"}
    alone = {name: shape for name, shape in language.items() if not name.startswith(hilight_names.TOKEN_MINING_PREFIX)}
    named = _layers(alone, counts["gemma"])
    width = {name: named[f"model.layers.0.self_attn.{name}_proj.weight"].shape[0] for name in "qkvo"}
    values = sidecar["config_json"]
    sizes = {
        "vocab_size": named["model.embed_tokens.weight"].shape[0],
        "hidden_size": width["o"],
        "num_hidden_layers": sum(name.endswith("q_proj.weight") for name in named),
        "num_attention_heads": width["q"] // values["head_dim"],
        "num_key_value_heads": width["k"] // values["head_dim"],
        "intermediate_size": named["model.layers.0.mlp.gate_proj.weight"].shape[0],
    }
    video = {clip_names.bare_name(name): shape for name, shape in sidecar["clipvip_pt_tensors"].items()}
    images = Foreign(pathlib.Path("long"), _layers(sidecar["longclip_pt_tensors"], counts["longclip_B"]), {}, ())
    whole = clip.import_long_clip(images)
    # Heads leave no trace in shapes.
    config = HiLightConfig(
        vision=clip.vision_config(_layers(video, counts["clipvip"]), {"num_attention_heads": 1}),
        frames=whole.model.frames,
        token_mining=hilight.mining_config(_layers(sidecar["token_mining_bin"], counts["token_mining"])),
        gemma=gemma_config_from_json({**values, **sizes}, hilight.HILIGHT_RULE),
    )
    params = jax.tree.map(lambda leaf: _lazy(leaf.shape), param_shapes(config))
    encoder = {}
    if "visual_projection.weight" in video:
        encoder["visual_projection"] = {"kernel": _lazy(video["visual_projection.weight"][::-1])}
    if "logit_scale" in video:
        encoder["logit_scale"] = _lazy(())
    rest = {name: tree for name, tree in whole.params.items() if name != "frames"}
    extra = {"encoder": encoder, "long_clip": rest}
    return ExportedChat(config, params, ConversationDataConfig(), pathlib.Path(TOKENIZER), extra)


def _layers(shapes: Mapping[str, list[int]], count: int) -> dict[str, LazyArray]:
    """Arrays of these shapes, with as many layers as make ``count`` numbers."""
    real = {name: shape for name, shape in shapes.items() if not name.endswith("position_ids")}
    whole = sum(math.prod(shape) for name, shape in real.items() if "{i}" not in name)
    layer = sum(math.prod(shape) for name, shape in real.items() if "{i}" in name)
    depth, rest = divmod(count - whole, layer) if layer else (1, count - whole)
    assert rest == 0, f"{count} numbers are no whole number of layers"
    return {name.replace("{i}", str(i)): _lazy(shape) for name, shape in shapes.items() for i in range(depth)}


def _lazy(shape: Any) -> LazyArray:
    return LazyArray(shape, np.float32, lambda: pytest.fail("an array was read"))


def _record(model: ExportedChat) -> dict[pathlib.Path, dict[str, Any]]:
    """The files of an export by name; small files are written, arrays are not."""
    written = {}
    with tempfile.TemporaryDirectory() as there:

        def note(path, arrays, **_):
            written[path.relative_to(there)] = dict(arrays)

        with mock.patch.multiple(exporter, write_torch_file=note, write_shards=note):
            exporter.write_hilight(model, pathlib.Path(there))
    return written


def _any_layer(name: str) -> str:
    return re.sub(r"(layers|resblocks)\.\d+\.", r"\1.{i}.", name)


def _count(arrays: Mapping[str, Any]) -> int:
    return sum(math.prod(x.shape) for name, x in arrays.items() if not name.endswith("position_ids"))


def _check_config(values: Mapping[str, Any]) -> None:
    """The same keys and values."""
    expected = {name: value for name, value in values.items() if not _ADDED.fullmatch(name)}
    ours = exporter.language_config(gemma_config_from_json(values, hilight.HILIGHT_RULE), values["torch_dtype"])
    assert set(ours) == set(expected)
    assert {**ours, _NO_LIMIT: expected[_NO_LIMIT]} == expected


def _check_directory(places: Mapping[str, list[str]]) -> None:
    """Every file that is asked for is there, and no other."""
    with tempfile.TemporaryDirectory() as there:
        root = pathlib.Path(there)
        exporter.write_hilight(_tiny(), root)
        left = {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}
    for directory, entries in places.items():
        directory = f"{exporter.LANGUAGE_MODEL}/" if directory == "<ckpt>/" else directory
        for entry in entries:
            name = directory + entry.partition(" (")[0]
            # Any name does for the connector; it is given on the command line.
            beginning, end = (name[: name.rindex("/") + 1], ".bin") if name.endswith(".bin") else (name, "")
            found = {file for file in left if file.startswith(beginning) and file.endswith(end)}
            assert found, f"there is no {name}"
            left -= found
    assert not left


def _check_facts(facts: Mapping[str, Any]) -> None:
    """Our import of such files does as the original's loaders do."""
    pytest.importorskip("torch")
    rules = {
        r"webui ckpt.*|predict_cli: token_mining overwritten.*": _check_sources,
        r"reload .*|save_pretrained .*|config keys added .*": _check_towers_inside,
        r".*(CLIP-ViP|clipvip).*loads equal": _check_prefixes,
        r"longclip: .*": _check_rounding,
    }
    for name, value in facts.items():
        rule = next((rule for pattern, rule in rules.items() if re.fullmatch(pattern, name)), None)
        assert rule or _THEIRS.fullmatch(name), f"checks: no rule for '{name}'"
        if rule:
            rule(value)


def _check_sources(value: Any) -> None:
    """The connector is the directory's unless a file of its own is given; ``.bin`` does as well as safetensors."""
    assert value in (True, "torch.float32")
    with tempfile.TemporaryDirectory() as there:
        root, model = pathlib.Path(there), _tiny()
        exporter.write_hilight(model, root)
        _check_same(_import(root), model.params)
        language = root / exporter.LANGUAGE_MODEL
        weights = dict(open_foreign(language).weights)
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        write_torch_file(language / "pytorch_model.bin", weights)
        (language / "model.safetensors").unlink()
        _check_same(_import(root), model.params)
        other = _tiny(seed=1).params["token_mining"]
        for name, prefix in (("x.bin", hilight_names.TOKEN_MINING_PREFIX), ("x.pt", "")):
            named = hilight_names.token_mining_to_official(other)
            write_torch_file(root / name, {prefix + key: x for key, x in named.items()})
            found = _import(root, token_mining=root / name)
            _check_same(found, {**model.params, "token_mining": other})


def _check_towers_inside(value: Any) -> None:
    """Towers inside the language model's directory, and the keys that name them, change nothing."""
    with tempfile.TemporaryDirectory() as there:
        root, model = pathlib.Path(there), _tiny()
        exporter.write_hilight(model, root)
        language = root / exporter.LANGUAGE_MODEL
        added = value if isinstance(value, Mapping) else {}
        assert all((root / path).is_file() for path in added.values())
        values = json.loads((language / "config.json").read_text())
        (language / "config.json").write_text(json.dumps({**values, **added}))
        names = [name for name in value if not name.startswith("...")] if isinstance(value, list) else []
        others = hilight_names.to_official({name: _tiny(seed=1).params[name] for name in ("vision", "frames")})
        assert set(names) - {"model.vision_tower.vision_tower.model.logit_scale"} <= {
            *others,
            "model.vision_tower.vision_tower.model.vision_model.embeddings.position_ids",
        }
        weights = dict(open_foreign(language).weights) | others | dict.fromkeys(names, np.zeros(()))
        write_torch_file(language / "pytorch_model.bin", weights)
        (language / "model.safetensors").unlink()
        _check_same(_import(root), model.params)


def _check_prefixes(value: Any) -> None:
    """Wrappers around the tower's names change nothing."""
    assert value is True
    model = _tiny()
    named = clip_names.to_official({"vision": model.params["vision"]})
    for prefix in ("clipmodel.", "model.", "module.clipmodel."):
        found = clip_names.from_official(
            {prefix + name: x for name, x in named.items()}, {"vision": param_shapes(_TINY)["vision"]}
        )
        _check_same(found, {"vision": model.params["vision"]})


def _check_rounding(value: Any) -> None:
    """Reading rounds these arrays through float16, and no others."""
    images = _tiny().params["frames"]
    texts = exporter._smallest_text_tower(_TINY.frames.embed_dim)
    rng = np.random.default_rng(0)
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name, shape in texts.items()}
    whole = {**long_clip_names.to_official({"frames": images}), **drawn}
    whole = {name: np.asarray(x) + np.float32(1e-5) for name, x in whole.items()}
    read = clip.import_long_clip(
        Foreign(pathlib.Path("x"), {name: _array(x) for name, x in whole.items()}, {}, ()), fp16_rounded=True
    )
    back = {name: np.asarray(x) for name, x in long_clip_names.to_official(read.params).items()}
    changed = {name for name, x in whole.items() if not np.array_equal(back[name], x)}
    if isinstance(value, list):
        assert {_any_layer(name) for name in changed} == {_any_layer(name) for name in value}
    assert all(np.array_equal(back[name], whole[name].astype(np.float16).astype(np.float32)) for name in changed)


def _tiny(seed: int = 0) -> ExportedChat:
    """A tiny model; its Long-CLIP is rounded already, so that reading it changes nothing."""
    params = jax.tree.map(np.asarray, tiny_hilight.params(_TINY, seed))
    params["frames"] = jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), params["frames"])
    return ExportedChat(_TINY, params, ConversationDataConfig(), pathlib.Path(TOKENIZER))


def _import(root: pathlib.Path, **given: pathlib.Path) -> dict[str, Any]:
    directory = root / exporter.LANGUAGE_MODEL
    return hilight.import_hilight(
        open_foreign(directory), hilight.find_files(directory, hilight.ChatFiles(**given))
    ).params


def _check_same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    found, expected = flatten(found), flatten(expected)
    assert set(found) == set(expected)
    for name, x in expected.items():
        assert np.asarray(found[name]).tobytes() == np.asarray(x).tobytes(), name


def _array(x: np.ndarray) -> LazyArray:
    return LazyArray(x.shape, x.dtype, lambda: x)
