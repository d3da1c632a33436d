"""Sizes of a Gemma-1 language model, the activations that its checkpoints name, and the reader of ``config.json``."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import Array

from hilight_jax.core.config import check
from hilight_jax.core.errors import ConfigError, nearest
from hilight_jax.models.layers import check_multiples, check_sizes, quick_gelu

# By their names in transformers. Google's Gemma-1 checkpoints name the first and the second, exported ones the third.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_pytorch_tanh": jax.nn.gelu,
    "gelu_python": functools.partial(jax.nn.gelu, approximate=False),
    "quick_gelu": quick_gelu,
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
}


@dataclasses.dataclass(frozen=True)
class GemmaConfig:
    """Sizes and conventions of a Gemma-1 model; the defaults are Gemma-2B's as HiLight runs it.

    Attributes:
      vocab_size: Rows of the embedding table, which also makes the logits.
      width: D.
      depth: Number of layers.
      num_heads: N, query heads.
      num_kv_heads: K, key and value heads; each serves ``N / K`` query heads.
      head_dim: H; ``N * H`` need not equal D (it does in 2B, not in 7B).
      mlp_dim: Width of the gated MLP.
      norm_eps: Added to the mean square in every RMSNorm.
      rope_base: Base of the rotary angles.
      hidden_act: Activation of the MLP's gate, by its name in transformers. Exact ``gelu`` is what HiLight's pinned
        transformers 4.38.0 makes of Gemma's first config.json; the model was trained with ``gelu_pytorch_tanh``.
      round_embed_scale: Round ``sqrt(D)`` to the embeddings' dtype before multiplying, as transformers >= 4.39 does;
        4.38 (HiLight's pin) multiplies in float32 and rounds the product. The same in float32.
    """

    vocab_size: int = 256000
    width: int = 2048
    depth: int = 18
    num_heads: int = 8
    num_kv_heads: int = 1
    head_dim: int = 256
    mlp_dim: int = 16384
    norm_eps: float = 1e-6
    rope_base: float = 10000.0
    hidden_act: str = "gelu"
    round_embed_scale: bool = False

    def __post_init__(self):
        """Checks sizes, heads, constants and the activation's name."""
        sizes = ("vocab_size", "width", "depth", "num_heads", "num_kv_heads", "head_dim", "mlp_dim")
        check_sizes("gemma", self, sizes)
        check_multiples("gemma", self, {"num_heads": "num_kv_heads"})
        check(self, "gemma.", lambda x: x % 2 == 0, "even: rotary positions turn pairs", "head_dim")
        check(self, "gemma.", lambda x: 0 < x < math.inf, "a positive number", "norm_eps", "rope_base")
        if self.hidden_act not in ACTIVATIONS:
            raise ConfigError(
                f"gemma.hidden_act is '{self.hidden_act}', but must be one of {', '.join(sorted(ACTIVATIONS))}."
                f"{nearest(str(self.hidden_act), ACTIVATIONS)}"
            )

    @property
    def activation(self) -> Callable[[Array], Array]:
        """The function that ``hidden_act`` names."""
        return ACTIVATIONS[self.hidden_act]


GEMMA_2B = GemmaConfig()
GEMMA_7B = GemmaConfig(width=3072, depth=28, num_heads=16, num_kv_heads=16, mlp_dim=24576)

# Our field, the name in config.json.
_SIZES = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "mlp_dim": "intermediate_size",
}
_MODEL_TYPES = ("gemma", "hilight_gemma")


def gemma_config_from_json(values: Mapping[str, Any], rule: str = "4.38.0") -> GemmaConfig:
    """Reads the ``config.json`` of a Gemma-1 or HiLight checkpoint as one version of transformers does.

    The versions disagree about the same file:
    - 4.38 takes ``hidden_act``, exact ``gelu`` where there is none, and does not round the embedding scale;
    - 4.39 to 4.47 ignore ``hidden_act``: they take ``hidden_activation``, ``gelu_pytorch_tanh`` where there is none;
    - from 4.48 on it is ``hidden_act`` again, ``gelu_pytorch_tanh`` where there is none.
    From 4.39 on the embedding scale is rounded to the embeddings' dtype.

    Args:
      values: The parsed file.
      rule: Version of transformers whose reading to follow; 4.38.0 is HiLight's pin.

    Raises:
      ConfigError: The file is of another architecture, lacks a size, or needs what Gemma-1 does not have.
    """
    version = _version(rule)
    kind = values.get("model_type", "gemma")
    if kind not in _MODEL_TYPES:
        raise ConfigError(
            f"config.json has model_type '{kind}', but only {' and '.join(_MODEL_TYPES)} can be read: other models, "
            f"later Gemmas among them, have other layers."
        )
    if missing := [theirs for theirs in _SIZES.values() if values.get(theirs) is None]:
        raise ConfigError(f"config.json lacks {', '.join(missing)}; take the one that came with the weights.")
    for name, plain in {"attention_bias": False, "tie_word_embeddings": True, "rope_scaling": None}.items():
        if values.get(name, plain) != plain:
            raise ConfigError(f"config.json has {name}={values[name]!r}, but Gemma-1 has {name}={plain!r}.")
    for theirs in _SIZES.values():
        if type(values[theirs]) is not int:
            raise ConfigError(f"config.json has {theirs}={values[theirs]!r}, but it must be a whole number.")
    rope = values.get("rope_parameters") or {}
    if not isinstance(rope, Mapping):
        raise ConfigError(f"config.json has rope_parameters={rope!r}, but it must be an object.")
    if rope.get("rope_type", "default") != "default":
        raise ConfigError(f"config.json has rope_type={rope['rope_type']!r}, but Gemma-1 has plain rotary positions.")
    if version < (4, 39):
        hidden_act = values.get("hidden_act") or "gelu"
    else:
        hidden_act = values.get("hidden_activation" if version < (4, 48) else "hidden_act") or "gelu_pytorch_tanh"
    if not isinstance(hidden_act, str):
        raise ConfigError(f"config.json names the activation {hidden_act!r}, but it must be a name.")
    norm_eps = values.get("rms_norm_eps", 1e-6)
    rope_base = values.get("rope_theta", rope.get("rope_theta", 10000.0))
    for name, value in {"rms_norm_eps": norm_eps, "rope_theta": rope_base}.items():
        if type(value) not in (int, float):
            raise ConfigError(f"config.json has {name}={value!r}, but it must be a number.")
    return GemmaConfig(
        **{ours: values[theirs] for ours, theirs in _SIZES.items()},
        norm_eps=norm_eps,
        rope_base=rope_base,
        hidden_act=hidden_act,
        round_embed_scale=version >= (4, 39),
    )


def _version(rule: str) -> tuple[int, int]:
    """Major and minor number of a transformers version that has Gemma."""
    parts = rule.split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        raise ConfigError(f"the rule '{rule}' is no version of transformers; write it as '4.38.0'.")
    version = int(parts[0]), int(parts[1])
    if version < (4, 38):
        raise ConfigError(f"transformers {rule} has no Gemma; the first version that has it is 4.38.0.")
    return version
