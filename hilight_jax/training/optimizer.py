"""AdamW as CLIP-ViP was trained with: cosine with warm-up, clipped gradients, no decay on biases and norms.

Follows the shipped configurations of microsoft/XPretrain CLIP-ViP (see configs/encoder.py for the numbers). Beside it
Muon, for small models from scratch.
"""

import dataclasses
from typing import Literal

import jax
import optax

from hilight_jax.core import trees
from hilight_jax.core.config import check


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The update rule.

    Attributes:
      name: ``adamw``; ``muon`` (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), orthogonal updates of
        matrices, with AdamW for tables, vectors and scalars at the same learning rate; or ``sgd`` (no momentum, no
        decay), for tests of gradients.
      learning_rate: Peak learning rate.
      warmup_fraction: Share of all steps over which the rate rises linearly from 0.
      end_fraction: The cosine ends at this share of the peak.
      weight_decay: Decoupled decay, multiplied by the learning rate.
      b1: Decay of the first moment.
      b2: Decay of the second moment.
      eps: Added to the root of the second moment.
      clip_norm: Gradients are scaled down to this global norm; 0 switches it off.
      muon_by_adam: Path patterns of matrices that ``muon`` leaves to AdamW.
      no_decay: Path patterns without weight decay.
      multipliers: Path pattern to a factor on the learning rate, the first match counting.
    """

    name: Literal["adamw", "muon", "sgd"] = "adamw"
    learning_rate: float = 1e-6
    warmup_fraction: float = 0.01
    end_fraction: float = 0.0
    weight_decay: float = 0.2
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-8
    clip_norm: float = 1.0
    muon_by_adam: tuple[str, ...] = (r".*embedding.*", r".*embedder.*", r".*table")
    no_decay: tuple[str, ...] = (r".*/bias", r".*norm.*/scale", r"logit_scale", r"local/scale")
    multipliers: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Checks ranges."""
        fractions = ("warmup_fraction", "end_fraction", "b1", "b2")
        check(self, "optimizer.", lambda x: x >= 0, "at least 0", "learning_rate", "weight_decay", "clip_norm")
        check(self, "optimizer.", lambda x: x > 0, "greater than 0; 1e-8 is usual", "eps")
        check(self, "optimizer.", lambda x: 0 <= x < 1, "at least 0 and below 1", *fractions)


def schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then half a cosine over the rest of ``steps``."""
    warmup = round(config.warmup_fraction * steps)
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup else config.learning_rate,
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=config.end_fraction * config.learning_rate,
    )


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Builds the update rule for a run of ``steps`` steps."""
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    if config.name != "sgd":
        rules = {"adam": optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps), "muon": _muon()}
        only_adam = config.name == "adamw"
        parts.append(rules["adam"] if only_adam else optax.partition(rules, lambda params: _rules(config, params)))
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=lambda params: _decays(config, params)))
    if config.multipliers:
        parts.append(optax.stateless(lambda updates, params: _multiply(config, updates)))
    return optax.chain(*parts, optax.scale_by_learning_rate(schedule(config, steps)))


def _muon() -> optax.GradientTransformation:
    """Orthogonal updates of stacked matrices [..., in, out], as large as AdamW's usually are (arXiv 2502.16982)."""
    axes = optax.contrib.MuonDimensionNumbers(reduction_axis=(-2,), output_axis=(-1,))

    def matrices(params: trees.Tree) -> trees.Tree:
        return jax.tree.map(lambda _: axes, params)

    def as_large_as_adam(updates: trees.Tree, _: trees.Tree | None) -> trees.Tree:
        return jax.tree.map(lambda x: x * (0.2 * max(x.shape[-2:]) ** 0.5), updates)

    return optax.chain(
        optax.contrib.scale_by_muon(weight_dimension_numbers=matrices), optax.stateless(as_large_as_adam)
    )


def _rules(config: OptimizerConfig, params: trees.Tree) -> dict:
    """The update rule of each parameter under ``muon``."""

    def rule(path: str, leaf: jax.Array) -> str:
        matrix = path.endswith("kernel") and leaf.ndim >= 2
        return "muon" if matrix and not trees.matches(path, config.muon_by_adam) else "adam"

    return trees.map_with_path(rule, params)


def _decays(config: OptimizerConfig, params: trees.Tree) -> dict:
    return trees.map_with_path(lambda path, _: not trees.matches(path, config.no_decay), params)


def _multiply(config: OptimizerConfig, updates: trees.Tree) -> dict:
    def factor(path: str) -> float:
        return next((f for pattern, f in config.multipliers.items() if trees.matches(path, [pattern])), 1.0)

    return trees.map_with_path(lambda path, update: update * factor(path), updates)
