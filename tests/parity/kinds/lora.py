"""PEFT's LoRA on Gemma: logits, loss, gradients of the deltas, and HiLight's ``merge_lora`` as exports do it."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.formats.exporting.lora import merge_lazily
from hilight_jax.formats.gemma_names import (
    ADAPTER_PREFIX,
    adapter_from_official,
    adapter_to_official,
    from_official,
    to_official,
)
from hilight_jax.models import lora
from tests.parity import language_model
from tests.parity.case import Case
from tests.parity.dual_encoder import compiled


def check(case: Case) -> None:
    """The frozen model with deltas beside it, and with the deltas merged into it."""
    weights, adapter = _weights(case)
    config = lora.LoraConfig(
        case.config["r"], case.config["lora_alpha"], case.config["lora_dropout"], _targets(adapter)
    )
    model, template = language_model.build(case, language_model.gemma_config(case, case.config["llm"]), config)
    params = from_official(weights, template)
    shapes = jax.eval_shape(lambda: lora.init(jax.random.key(0), template, config))
    deltas = adapter_from_official(adapter, shapes)
    ids, mask, positions = (case.input(name) for name in ("input_ids", "attention_mask", "position_ids"))
    labels = case.input("labels")
    mask = np.ones(ids.shape, bool) if mask is None else mask.astype(bool)
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape) if positions is None else positions

    def loss_of(deltas, params):
        variables = {"params": params} | ({"lora": deltas} if deltas is not None else {})
        logits = model.apply(variables, ids, positions, mask, method=language_model.run)["logits"]
        return jnp.zeros(()) if labels is None else language_model.cross_entropy(logits, labels), logits

    (loss, logits), gradients = compiled(jax.value_and_grad(loss_of, has_aux=True))(deltas, params)
    language_model.compare_real(case, "outputs/lora_logits", logits, mask)
    case.compare("outputs/lora_loss", np.reshape(loss, (1,)))
    named = {name.removeprefix(ADAPTER_PREFIX): x for name, x in adapter_to_official(gradients).items()}
    case.compare_all(named, "outputs/grad/")
    merged = jax.tree.map(np.asarray, merge_lazily(jax.tree.map(jnp.asarray, params), deltas, config))
    case.compare_all(to_official(merged), "outputs/merged/")
    language_model.compare_real(case, "outputs/merged_logits", compiled(loss_of)(None, merged)[1], mask)


def _weights(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """The language model's weights and the adapter's; the rest of HiLight is stored but takes no part."""
    adapter = case.weights("weights/adapter/")
    named = case.weights()
    foreign = r"adapter/.*|model\.(token_mining|vision_tower\w*)\..*"
    return {name: x for name, x in named.items() if not re.fullmatch(foreign, name)}, adapter


def _targets(adapter: dict[str, Any]) -> tuple[str, ...]:
    """The kinds of linear maps that the adapter has deltas for."""
    kinds = {re.search(r"layers\.\d+\.(\w+)\.(\w+)\.lora_", name).groups() for name in adapter}
    return tuple(f"layers/{part.removeprefix('self_')}/{name}" for part, name in sorted(kinds))
