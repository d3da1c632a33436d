"""A Gemma small enough to compile in seconds, with parameters drawn without compiling anything."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.models import lora
from hilight_jax.models.gemma import Gemma
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.layers import ComputeConfig

CONFIG = GemmaConfig(vocab_size=31, width=12, depth=2, num_heads=4, num_kv_heads=2, head_dim=6, mlp_dim=20)
LORA = lora.LoraConfig(rank=3, alpha=6.0, dropout=0.5)
IDS = np.array([[5, 6, 7, 8, 9], [0, 0, 3, 4, 5]], np.int32)
MASK = IDS > 0
POSITIONS = np.maximum(np.cumsum(MASK, axis=1) - 1, 0)


def language(model, ids, positions, mask, cache=None, **options):
    """Embeds, runs and scores; a method for ``Gemma.apply``."""
    out = model(model.embed(ids), positions, mask, cache, **options)
    return out | {"logits": model.logits(out["tokens"])}


def shapes(config: GemmaConfig = CONFIG, **fields) -> dict:
    """Shapes and dtypes of the parameters; nothing is computed."""
    model, ids = Gemma(config, **fields), jnp.zeros((1, 1), jnp.int32)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), ids, ids, ids == 0, method=language))["params"]


def params(config: GemmaConfig = CONFIG) -> dict:
    """Normal parameters of standard deviation 0.3."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), x.dtype), shapes(config))


def deltas(config: lora.LoraConfig = LORA) -> dict:
    """LoRA deltas of ``params`` that change something."""
    rng = np.random.default_rng(1)
    zeros = lora.init(jax.random.key(0), shapes(), config)
    return jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), x.dtype), zeros)


def run(variables: dict, ids=IDS, positions=POSITIONS, mask=MASK, cache=None, fields=None, **options) -> dict:
    """Applies the tiny model, compiled."""
    model = Gemma(**{"config": CONFIG, "compute": ComputeConfig(), "lora": LORA} | (fields or {}))
    rngs = options.pop("rngs", None)

    @jax.jit
    def apply(variables, ids, positions, mask, cache, rngs):
        return model.apply(variables, ids, positions, mask, cache, rngs=rngs, method=language, **options)

    return apply(variables, ids, positions, mask, cache, rngs)


def with_config(**changes) -> GemmaConfig:
    """The tiny sizes with these changes."""
    return dataclasses.replace(CONFIG, **changes)
