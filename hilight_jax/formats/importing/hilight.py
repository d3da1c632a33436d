"""Imports a whole HiLight: its language model with token mining, and towers, connector and adapter from other files."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.formats import clip_names, hilight_names, long_clip_names
from hilight_jax.formats.checkpoint_files import Foreign, open_foreign
from hilight_jax.formats.importing import clip, gemma
from hilight_jax.formats.importing.imported_model import Imported, renamed, set_aside, shape_of
from hilight_jax.models import hilight as hilight_model
from hilight_jax.models import lora
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig

# HiLight pins this version of transformers.
HILIGHT_RULE = "4.38.0"
# The original's directory of the other files, beside its language model's directory or in it.
_ZOO = "model_zoo"
_ZOO_FILES = {
    "vision": ("CLIP-ViP/pretrain_clipvip_base_16.pt", "CLIP-ViP/*.pt"),
    "frames": ("Long-CLIP/longclip-B.pt", "Long-CLIP/*.pt"),
    "token_mining": ("TokenMining/token_mining.bin",),
    "tokenizer": ("LLM/gemma/tokenizer/tokenizer.model",),
}
_NOT_SEEN = "the towers of HiLight are read from their own files"
_VISION_UNUSED = "HiLight takes the video tower's tokens, not what comes after"
_FRAMES_UNUSED = "HiLight looks at frames only"


@dataclasses.dataclass(frozen=True)
class ChatFiles:
    """The files of a HiLight beside its language model's directory; None: not given, or found in ``model_zoo``.

    Attributes:
      vision: CLIP-ViP.
      frames: Long-CLIP.
      token_mining: A connector that replaces the one in the directory.
      adapter: A directory of PEFT's.
      tokenizer: Gemma's ``tokenizer.model``, see ``find_tokenizer``.
    """

    vision: Path | None = None
    frames: Path | None = None
    token_mining: Path | None = None
    adapter: Path | None = None
    tokenizer: Path | None = None


def find_files(directory: Path, given: ChatFiles) -> ChatFiles:
    """Finds the towers' files that were not given in ``model_zoo``, in the directory or beside it.

    A connector is only used when given: the one in the directory was trained with the language model.

    Raises:
      CheckpointError: A tower is not found.
    """
    found = {}
    for name, tower in (("vision", "CLIP-ViP"), ("frames", "Long-CLIP")):
        found[name] = getattr(given, name) or _in_zoo(directory, name)
        if found[name] is None:
            raise CheckpointError(
                f"'{directory}' is a HiLight without its {tower} tower, and there is no {_ZOO} beside it; name the "
                f"tower's file by --{name}."
            )
    return dataclasses.replace(given, **found)


def find_tokenizer(directory: Path) -> Path | None:
    """The ``tokenizer.model`` of a checkpoint: in its directory, or in ``model_zoo``."""
    beside = directory / "tokenizer.model"
    return beside if beside.is_file() else _in_zoo(directory, "tokenizer")


def import_hilight(foreign: Foreign, files: ChatFiles, rule: str = HILIGHT_RULE, fp16_rounded: bool = True) -> Imported:
    """A HiLight of the original's: the directory of its language model and connector, and ``find_files``'s rest.

    By default Long-CLIP's weights are rounded as the original does, see ``long_clip_names``; its connector was trained
    behind them. ``rule`` is the version of transformers whose reading of config.json to follow.

    Raises:
      CheckpointError: Parts are missing or do not fit.
    """
    opened = {"weights": foreign, "vision": open_foreign(files.vision), "frames": open_foreign(files.frames)}
    seen = [(r"model\.vision_tower(_aux)?\..*", _NOT_SEEN)]
    if files.token_mining:
        opened["token_mining"] = open_foreign(files.token_mining)
        seen.append((r"model\.token_mining\..*", "a connector is given by itself"))
    weights, left = set_aside(foreign.weights, seen)
    mining = {name: x for name, x in weights.items() if name.startswith(hilight_names.TOKEN_MINING_PREFIX)}
    language_weights = {name: x for name, x in weights.items() if name not in mining}
    if files.token_mining:
        mining = opened["token_mining"].weights
    if not mining:
        raise CheckpointError(
            f"'{foreign.path}' holds no token mining (names '{hilight_names.TOKEN_MINING_PREFIX}...'); give "
            f"token_mining.bin by --token_mining."
        )
    vision = renamed(opened["vision"].weights, clip_names.bare_name)
    frames = renamed(opened["frames"].weights, lambda name: name.removeprefix("module."))
    language = gemma.language_config(foreign, rule)
    config = HiLightConfig(
        vision=clip.vision_config(vision, opened["vision"].config),
        frames=clip.frame_config(frames, opened["frames"].config),
        token_mining=mining_config(mining),
        gemma=language,
    )
    template = hilight_model.param_shapes(config)
    kept, vision_left = set_aside(vision, [(r"(?!vision_model\.).*", _VISION_UNUSED)])
    seen, frames_left = set_aside(frames, [(r"(?!visual\.).*", _FRAMES_UNUSED)])
    params: dict[str, Any] = {
        "vision": clip_names.from_official(kept, {"vision": template["vision"]})["vision"],
        "frames": long_clip_names.from_official(seen, {"frames": template["frames"]}, fp16_rounded)["frames"],
        "token_mining": hilight_names.token_mining_from_official(mining, template["token_mining"]),
    }
    params["gemma"], used, more = gemma.language_params(language_weights, template["gemma"])
    used += len(kept) + len(seen) + len(mining)
    choices = [f"hidden_act is '{language.hidden_act}', as transformers {rule} reads its config.json"]
    if fp16_rounded:
        choices.append("Long-CLIP's weights were rounded through float16, as the original does when it loads them")
    if files.adapter:
        opened["adapter"] = open_foreign(files.adapter)
        adapter, params[lora.COLLECTION] = gemma.import_adapter(opened["adapter"], template["gemma"])
        config = dataclasses.replace(config, lora=adapter)
        used += len(opened["adapter"].weights)
    left |= more | vision_left | frames_left
    return Imported("HiLight", "chat", config, params, used, left, opened, tuple(choices))


def mining_config(weights: Mapping[str, LazyArray]) -> TokenMiningConfig:
    """The structure and sizes of a connector in the original's names."""
    bare = {name.removeprefix(hilight_names.TOKEN_MINING_PREFIX): x for name, x in weights.items()}
    widths = {
        "width_video": shape_of(bare, "key_projector.1.weight", 2)[1],
        "width_frames": shape_of(bare, "key_projector.1.weight", 2)[0],
        "width_out": shape_of(bare, "tokenizer_projector.1.weight", 2)[0],
    }
    return TokenMiningConfig(tokens_per_frame=shape_of(bare, "LongCLIP_projector.0.weight", 2)[0], **widths)


def _in_zoo(directory: Path, name: str) -> Path | None:
    """The file of a part in the model zoo of a directory: the original's own name first, else the only one of its kind.

    Raises:
      CheckpointError: Several files may be meant.
    """
    places = (directory, directory.absolute().parent)  # The parent of "." is "." otherwise.
    zoo = next((place / _ZOO for place in places if (place / _ZOO).is_dir()), None)
    if zoo is None:
        return None
    exact, *patterns = _ZOO_FILES[name]
    if (zoo / exact).is_file():
        return zoo / exact
    others = [path for pattern in patterns for path in sorted(zoo.glob(pattern))]
    if len(others) > 1:
        raise CheckpointError(
            f"'{zoo}' has {len(others)} files that may be the {name} ({', '.join(path.name for path in others)}); name "
            f"one by --{name}."
        )
    return others[0] if others else None
