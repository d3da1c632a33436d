"""Recognises the kind of a published checkpoint by the names of its arrays, and imports it as that kind."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from hilight_jax.core.errors import CheckpointError, ConfigError, nearest
from hilight_jax.formats.checkpoint_files import Foreign
from hilight_jax.formats.importing import clip, gemma, hilight
from hilight_jax.formats.importing.imported_model import Imported

# Wrappers' prefixes (module., clipmodel., model.) may stand in front of CLIP's names.
_WRAPPED = r"(module\.|model\.|clipmodel\.)*"
# By kind, its words and an expression that some name of such a checkpoint matches; the first kind that matches counts.
_KINDS: dict[str, tuple[str, str]] = {
    "hilight": ("HiLight, a language model with token mining", r"model\.token_mining\..+"),
    "adapter": ("a LoRA adapter", r"base_model\..+\.lora_A\..+"),
    "gemma": ("a Gemma", r"model\.embed_tokens\.weight"),
    "clip_vip": ("CLIP-ViP", _WRAPPED + r"vision_model\.embeddings\.(temporal_embedding|added_cls)"),
    "hf_clip": ("CLIP in Hugging Face's names", _WRAPPED + r"vision_model\.embeddings\.class_embedding"),
    "long_clip": ("Long-CLIP", r"(module\.)?positional_embedding_res"),
    "openai_clip": ("CLIP in OpenAI's names", r"(module\.)?visual\.class_embedding"),
    "token_mining": ("HiLight's token mining alone", r"(query|key|val)_projector\.0\.weight"),
}
# A file with no other names is token mining by itself.
_TOKEN_MINING = r"(model\.token_mining\.)?(query|key|val|CLIP_VIP|LongCLIP|tokenizer)_projector\..*"
# Kinds that are parts of another, and the option that takes them.
_PARTS = {"adapter": "--adapter", "token_mining": "--token_mining"}
KINDS = tuple(kind for kind in _KINDS if kind not in _PARTS)


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """The decisions of a user about an import.

    Attributes:
      stretch: Make the beginning of a Long-CLIP of a CLIP.
      rule: Version of transformers whose reading of a language model's config.json to follow; empty for the kind's own.
      fp16_rounded: Round Long-CLIP's weights as the original loader does; None for the kind's own: yes in a HiLight, no
        by itself.
      files: The other files of a HiLight.
    """

    stretch: bool = False
    rule: str = ""
    fp16_rounded: bool | None = None
    files: hilight.ChatFiles = hilight.ChatFiles()


def recognise(foreign: Foreign) -> str:
    """The kind of a checkpoint.

    Raises:
      CheckpointError: It is of none that is known here, or a part that needs the rest.
    """
    names = sorted(foreign.weights)
    if names and all(re.fullmatch(_TOKEN_MINING, name) for name in names):
        kind = "token_mining"
    else:
        matching = (kind for kind, (_, sign) in _KINDS.items() if any(re.fullmatch(sign, name) for name in names))
        kind = next(matching, None)
    if kind is None:
        raise CheckpointError(
            f"'{foreign.path}' is of an architecture that is not known here: {len(names)} arrays, the first "
            f"'{names[0] if names else ''}'; known are {', '.join(f'{describe(kind)} ({kind})' for kind in KINDS)}. "
            f"--kind forces one."
        )
    if kind in _PARTS:
        raise CheckpointError(
            f"'{foreign.path}' is {describe(kind)}, a part of a HiLight; convert the HiLight and give this as "
            f"{_PARTS[kind]}."
        )
    return kind


def describe(kind: str) -> str:
    """A kind in words."""
    return _KINDS[kind][0]


def import_as(kind: str, foreign: Foreign, options: ImportOptions) -> Imported:
    """Imports a checkpoint as one kind; arrays are read when the result's are.

    Raises:
      CheckpointError: It does not fit; every missing, extra and misshaped name is listed.
      ConfigError: An option does not belong to this kind.
    """
    importers: dict[str, Callable[[], Imported]] = {
        "hilight": lambda: hilight.import_hilight(
            foreign,
            hilight.find_files(Path(foreign.path), options.files),
            options.rule or hilight.HILIGHT_RULE,
            options.fp16_rounded is not False,
        ),
        "gemma": lambda: gemma.import_gemma(foreign, options.rule or gemma.GEMMA_RULE),
        "clip_vip": lambda: clip.import_clip_vip(foreign),
        "hf_clip": lambda: clip.import_clip_vip(foreign),
        "long_clip": lambda: clip.import_long_clip(foreign, bool(options.fp16_rounded)),
        "openai_clip": lambda: clip.import_openai_clip(foreign),
    }
    if kind not in importers:
        raise ConfigError(f"--kind is '{kind}', but must be one of {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    read = {
        "--stretch": (options.stretch, ("hf_clip", "openai_clip")),
        "--transformers_rule": (options.rule, ("gemma", "hilight")),
        "--fp16_rounded": (options.fp16_rounded is not None, ("long_clip", "hilight")),
    } | {
        f"--{name}": (value is not None, ("hilight", "gemma") if name == "tokenizer" else ("hilight",))
        for name, value in dataclasses.asdict(options.files).items()
    }
    for option, (given, kinds) in read.items():
        if given and kind not in kinds:
            raise ConfigError(
                f"{option} is for {' and '.join(kinds)}, but this is {describe(kind)} ({kind}); leave it out."
            )
    imported = importers[kind]()
    return clip.stretch_clip(foreign, imported) if options.stretch else imported
