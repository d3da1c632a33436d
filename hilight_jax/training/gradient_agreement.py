"""The directions into which two losses pull the parameters: the cosine of their gradients, layer by layer.

HiLight's report (arXiv 2407.07325) trains a global and a local loss on the same features and expects them to agree. A
cosine of 1 says that a step on one lowers the other as well as itself, one below 0 that they undo each other.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from hilight_jax.core import trees
from hilight_jax.core.trees import Tree
from hilight_jax.training.steps import Batch, Objective

NORMS = ("pre_layernorm", "post_layernorm", "final_layer_norm")
BLOCKS = "encoder/layers/"  # Below a tower, where the parameters of its blocks are stacked.


def gradient_agreement(
    objective: Objective, names: Collection[str]
) -> Callable[[Any, Batch], dict[str, dict[str, jax.Array]]]:
    """Returns ``agree(params, batch)``, which compares the losses called ``names`` with all others of the total.

    Its figures of each layer (``vision/embeddings``, ``vision/block 1``, ``text/block 2``): ``cosine`` of the two
    gradients, 0 where one of them is nothing, and ``ratio``, the length of that of ``names`` over the other's, or by
    itself where the other is nothing. Parameters that are frozen take part.
    """

    def weighted(params: Tree, batch: Batch, chosen: bool) -> jax.Array:
        counts = objective.loss_counts(batch)
        terms = objective.loss_terms(params, batch)
        return sum(
            objective.weights[name] * term.sum / jnp.maximum(counts[name], 1)
            for name, term in terms.items()
            if (name in names) == chosen
        )

    def agree(params: Tree, batch: Batch) -> dict[str, dict[str, jax.Array]]:
        params = objective.clamp(dict(params))
        one, other = (jax.grad(weighted)(params, batch, chosen) for chosen in (True, False))
        ours, theirs = by_layer(one), by_layer(other)
        return {layer: _compare(ours[layer], theirs[layer]) for layer in ours}

    return agree


def by_layer(tree: Tree) -> dict[str, list[jax.Array]]:
    """The leaves of both towers by layer; the leaves of blocks are stacked and are divided here.

    Tables of tokens and of positions are embeddings as well. Norms around the blocks are left out, and what lies beside
    the towers: a projection or a head belongs to one of the losses alone.
    """
    layers: dict[str, list[jax.Array]] = {}
    for path, leaf in trees.flatten(tree).items():
        tower, _, rest = path.partition("/")
        if tower not in ("vision", "text") or rest.partition("/")[0] in NORMS:
            continue
        if rest.startswith(BLOCKS):
            for number, part in enumerate(leaf, 1):
                layers.setdefault(f"{tower}/block {number}", []).append(part)
        else:
            layers.setdefault(f"{tower}/embeddings", []).append(leaf)
    return layers


def _compare(ours: list[jax.Array], theirs: list[jax.Array]) -> dict[str, jax.Array]:
    """Cosine and ratio of lengths of two gradients in parts."""
    pairs = [(x.astype(jnp.float32), y.astype(jnp.float32)) for x, y in zip(ours, theirs, strict=True)]
    product = sum(jnp.vdot(x, y) for x, y in pairs)
    lengths = [jnp.sqrt(sum(jnp.sum(pair[side] ** 2) for pair in pairs)) for side in (0, 1)]
    both = lengths[0] * lengths[1]
    return {
        "cosine": jnp.where(both > 0, product / jnp.where(both > 0, both, 1), 0),
        "ratio": lengths[0] / jnp.where(lengths[1] > 0, lengths[1], 1),
    }


def flat_figures(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The figures under flat names, for metrics: ``gradients/vision/block 1/cosine``."""
    return {
        f"gradients/{layer}/{name}": float(value) for layer, figures in found.items() for name, value in figures.items()
    }
