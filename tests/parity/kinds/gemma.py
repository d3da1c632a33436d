"""Transformers' ``GemmaForCausalLM``: padded batches, gradients, decoding through the cache, greedy generation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.formats.gemma_names import from_official, to_official
from hilight_jax.models.gemma import Gemma
from hilight_jax.models.gemma_decoding import init_cache
from tests.parity import language_model
from tests.parity.case import Case
from tests.parity.dual_encoder import compiled


def check(case: Case) -> None:
    """Every padded batch that the file has; decoding goes on from the batch padded on the left."""
    model, template = language_model.build(case, language_model.gemma_config(case, case.config))
    params = from_official(case.weights(), template)
    sides = [match[1] for match in list(case.names(r"inputs/input_ids_(.+)"))]
    for side in sides:
        _check_batch(case, model, params, side)
    if "left" in sides:
        _check_decoding(case, model, params)


def _check_batch(case: Case, model: Gemma, params: dict[str, Any], side: str) -> None:
    """Logits and hidden states at real tokens; loss and gradients where there are labels."""
    ids, mask, positions = _batch(case, side)
    labels = case.input(f"labels_{side}")

    def loss_of(params):
        method = language_model.run
        out = model.apply({"params": params}, ids, positions, mask, keep_outputs=True, method=method)
        return 0.0 if labels is None else language_model.cross_entropy(out["logits"], labels), out

    (loss, out), gradients = compiled(jax.value_and_grad(loss_of, has_aux=True))(params)
    language_model.compare_real(case, f"outputs/logits_{side}", out["logits"], mask)
    for k, state in enumerate(language_model.hidden_states(out)):
        language_model.compare_real(case, f"outputs/hidden_{side}_{k}", state, mask)
    if labels is not None:
        case.compare(f"outputs/loss_{side}", np.reshape(loss, (1,)))
        case.compare_all(to_official(gradients), "outputs/grad/")


def _check_decoding(case: Case, model: Gemma, params: dict[str, Any]) -> None:
    """Prompt, then one token at a time: given ones (logits), and the likeliest ones (ids)."""
    ids, mask, positions = _batch(case, "left")
    given, generated = case.input("decode_ids"), case.tensors.get("outputs/generated")
    steps = max((0 if x is None else x.shape[1]) for x in (given, generated))
    empty = init_cache(model.config, len(ids), ids.shape[1] + steps, case.dtype)

    @compiled
    def advance(params, ids, positions, mask, cache):
        out = model.apply({"params": params}, ids, positions, mask, cache, method=language_model.run)
        return out["logits"][:, -1], out["cache"]

    first, prompt = advance(params, ids, positions, mask, empty)

    def decode(count, choose):
        logits, cache = [first], prompt
        for step in range(count):
            position = positions[:, -1:] + step + 1
            last, cache = advance(params, choose(step, logits[-1]), position, np.ones((len(ids), 1), bool), cache)
            logits.append(last)
        return np.stack(logits, axis=1)

    if given is not None:
        case.compare("outputs/decode_logits", decode(given.shape[1], lambda step, _: given[:, step : step + 1]))
    if generated is not None:
        logits = decode(generated.shape[1] - 1, lambda _, logits: jnp.argmax(logits, axis=-1)[:, None])
        case.exact("outputs/generated", _stop(np.argmax(logits, axis=-1), case.config))


def _batch(case: Case, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, mask and positions; all real without a mask, counted from the first slot without positions."""
    ids, mask, positions = (case.input(f"{name}_{side}") for name in ("input_ids", "attention_mask", "position_ids"))
    mask = np.ones(ids.shape, bool) if mask is None else mask.astype(bool)
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape) if positions is None else positions
    return ids, mask, positions


def _stop(ids: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Padding after each row's end of sequence, as transformers' ``generate`` returns it."""
    stops = np.isin(ids, config.get("eos_token_id", []))
    return np.where(np.cumsum(stops, axis=1) > stops, config.get("pad_token_id", 0), ids)
