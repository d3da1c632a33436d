"""Our Gemma under a golden's sizes and weights, for the kinds that run the language model."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.core.trees import Tree
from hilight_jax.models.gemma import Gemma
from hilight_jax.models.gemma_config import GemmaConfig, gemma_config_from_json
from hilight_jax.models.gemma_decoding import Cache
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.lora import LoraConfig
from tests.parity.case import Case


def gemma_config(case: Case, values: dict[str, Any]) -> GemmaConfig:
    """Reads the sizes as the version of transformers did that the case was made with; HiLight's pin if none is told."""
    version = re.search(r"transformers (\d+\.\d+)", case.sidecar.get("source", ""))
    return gemma_config_from_json(values, rule=version[1] if version else "4.38")


def build(case: Case, config: GemmaConfig, lora: LoraConfig | None = None) -> tuple[Gemma, Tree]:
    """The model in the dtype of the pass, and the shapes and dtypes of its parameters."""
    model = Gemma(config, ComputeConfig(dtype=case.dtype, param_dtype=case.dtype), lora)
    ids = jnp.zeros((1, 1), jnp.int32)
    return model, jax.eval_shape(lambda: model.init(jax.random.key(0), ids, ids, ids == 0, method=run))["params"]


def run(model: Gemma, ids: Any, positions: Any, mask: Any, cache: Cache | None = None, **options: Any) -> dict:
    """Embeds ids, runs the layers and adds ``logits``; a method for ``Gemma.apply``."""
    out = model(model.embed(ids), positions, mask, cache, **options)
    return out | {"logits": model.logits(out["tokens"])}


def cross_entropy(logits: jax.Array, labels: Any) -> jax.Array:
    """The original's loss: mean over all labels that are not -100, each predicted by the token before it."""
    labels = jnp.asarray(labels)[:, 1:]
    log_probs = jax.nn.log_softmax(logits[:, :-1], axis=-1)
    picked = jnp.take_along_axis(log_probs, jnp.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    return -jnp.sum(jnp.where(labels == -100, 0, picked)) / jnp.sum(labels != -100)


def hidden_states(out: dict[str, Any]) -> list[np.ndarray]:
    """Transformers' ``hidden_states``: ours, except that the last one is after the final norm."""
    return [*out["outputs"][:-1], out["tokens"]]


def compare_real(case: Case, name: str, value: Any, mask: np.ndarray) -> None:
    """Compares ``value`` [B, L, ...] where ``mask`` [B, L] is True; what stands at padding is garbage on both sides."""
    expected = case.tensors.get(name)
    if expected is not None and expected.shape == np.shape(value):
        real = mask.reshape(*mask.shape, *(1,) * (expected.ndim - 2))
        value = np.where(real, value, expected)
    case.compare(name, value)
