"""Low-rank adaptation (Hu et al., arXiv 2106.09685): linear maps that take a delta, and trees of such deltas.

A delta of ``.../q_proj/kernel`` [in, out] is ``.../q_proj/a`` [in, rank] and ``.../q_proj/b`` [rank, out] (a leading
layer axis on all three when the layers are stacked). Deltas are flax's collection ``lora``, beside ``params``: the
trained, stored and exported numbers are one tree and the frozen kernels another.

Letters: B batch, D width of the input.
"""

import dataclasses
import math
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hilight_jax.core.config import check
from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.core.sharding import Rule
from hilight_jax.core.trees import Tree, flatten, matches, unflatten
from hilight_jax.models.layers import ComputeConfig

COLLECTION = "lora"

# Paths below the language model. The rank is never split; the other axis goes where the kernel's axis goes.
LORA_PARTITION_RULES: tuple[Rule, ...] = (
    (r"layers/(attn/(q|k|v)|mlp/(gate|up))_proj/a", ("fsdp", None)),
    (r"layers/(attn/q|mlp/(gate|up))_proj/b", (None, "tensor")),
    (r"layers/attn/(k|v)_proj/b", ()),
    (r"layers/(attn/o|mlp/down)_proj/a", ("tensor", None)),
    (r"layers/(attn/o|mlp/down)_proj/b", (None, "fsdp")),
)


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """The linear maps that get a delta, and its size; the defaults are those of HiLight's second stage.

    Attributes:
      rank: Inner width of a delta.
      alpha: A delta is scaled by ``alpha / rank``.
      dropout: Of a delta's input, in training only; the frozen path never drops anything.
      targets: Patterns of the paths of linear maps (without ``/kernel``), each matching whole path parts from the
        front. The default is all seven of every layer: 78,446,592 numbers at Gemma-2B and rank 64.
    """

    rank: int = 64
    alpha: float = 32.0
    dropout: float = 0.05
    targets: tuple[str, ...] = (r"layers/attn/(q|k|v|o)_proj", r"layers/mlp/(gate|up|down)_proj")

    def __post_init__(self):
        """Checks the numbers; targets are checked against the model by ``init``."""
        check(self, "lora.", lambda x: x >= 1, "at least 1", "rank")
        check(self, "lora.", lambda x: 0 < x < math.inf, "a positive number", "alpha")
        check(self, "lora.", lambda x: 0 <= x < 1, "at least 0 and below 1", "dropout")
        for target in self.targets:
            try:
                re.compile(target)
            except re.error as error:
                raise ConfigError(f"lora.targets: '{target}' is not a regular expression of paths: {error}.") from error
        if not self.targets:
            raise ConfigError("lora.targets is empty; name at least one linear map, or set lora=None for no LoRA.")

    @property
    def scale(self) -> float:
        """The factor of ``a @ b``, ``alpha / rank``."""
        return self.alpha / self.rank


class Linear(nn.Module):
    """A linear map without bias, plus the delta of its path when the collection ``lora`` holds one.

    Attributes:
      features: Output width.
      init_std: Standard deviation of the initial kernel.
      compute: Dtypes.
      lora: Scale and dropout of the deltas.
      deterministic: No dropout; otherwise the random stream ``dropout`` is needed.
    """

    features: int
    init_std: float
    compute: ComputeConfig
    lora: LoraConfig | None = None
    deterministic: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D2"]:
        """Returns ``x @ kernel + alpha / rank * dropout(x) @ a @ b``.

        Raises:
          ConfigError: There are deltas but no ``lora`` configuration to scale them by.
        """
        dtype, param_dtype = self.compute.dtypes["dtype"], self.compute.dtypes["param_dtype"]
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(self.init_std), shape, param_dtype)
        x = x.astype(dtype)
        y = x @ kernel.astype(dtype)
        if not self.has_variable(COLLECTION, "a"):
            return y
        if self.lora is None:
            raise ConfigError(f"'{'/'.join(self.path)}' was given a LoRA delta, but the model has no lora config.")
        a, b = (self.get_variable(COLLECTION, name).astype(dtype) for name in "ab")
        dropped = nn.Dropout(self.lora.dropout)(x, deterministic=self.deterministic)
        return y + self.lora.scale * (dropped @ a @ b)


def init(key: jax.Array, params: Tree, config: LoraConfig) -> dict[str, Any]:
    """Makes the deltas of a model that change nothing yet.

    ``a`` is uniform within ``1 / sqrt(in)`` and ``b`` zero, as in PEFT.

    Args:
      key: Random key.
      params: The model's parameters, or their shapes and dtypes.
      config: Patterns of the maps, and the rank.

    Raises:
      ConfigError: A pattern of ``config.targets`` matches no linear map.
    """
    kernels = _kernels(params)
    for pattern in config.targets:
        if not any(matches(path, [pattern]) for path in kernels):
            raise ConfigError(
                f"lora.targets has '{pattern}', which matches no linear map; the model has {', '.join(kernels)}."
            )
    flat = {}
    for path, kernel in kernels.items():
        if matches(path, config.targets):
            key, mine = jax.random.split(key)
            *stack, fan_in, fan_out = kernel.shape
            bound = fan_in**-0.5
            a_shape = (*stack, fan_in, config.rank)
            flat[f"{path}/a"] = jax.random.uniform(mine, a_shape, kernel.dtype, -bound, bound)
            flat[f"{path}/b"] = jnp.zeros((*stack, config.rank, fan_out), kernel.dtype)
    return unflatten(flat)


def check_fits(params: Tree, deltas: Tree, config: LoraConfig) -> None:
    """Raises a CheckpointError, naming every misfit, unless the deltas are pairs that fit kernels of ``params``."""
    kernels, flat = _kernels(params), flatten(deltas)
    problems = [] if flat else ["it is empty"]
    for path in dict.fromkeys(path.rpartition("/")[0] for path in flat):
        if path not in kernels:
            problems.append(f"'{path}' is no linear map of the model")
            continue
        *stack, fan_in, fan_out = kernels[path].shape
        for name, shape in {"a": (*stack, fan_in, config.rank), "b": (*stack, config.rank, fan_out)}.items():
            found = flat.get(f"{path}/{name}")
            if found is None:
                problems.append(f"'{path}/{name}' is missing")
            elif tuple(found.shape) != shape:
                problems.append(f"'{path}/{name}' has shape {tuple(found.shape)}, expected {shape}")
    problems += [f"'{path}' is no part of a delta" for path in flat if path.rpartition("/")[2] not in ("a", "b")]
    if problems:
        raise CheckpointError(f"the adapter does not fit the model: {'; '.join(problems)}.")


def _kernels(params: Tree) -> dict[str, Any]:
    """Every linear map's kernel by the map's path."""
    return {path.removesuffix("/kernel"): x for path, x in flatten(params).items() if path.endswith("/kernel")}
