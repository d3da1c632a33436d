"""Kind ``sparc``: the paper's losses with every intermediate, and gradients with respect to tokens, patches and scale.

The package has the local loss; the paper's global loss is written out here, where alone it is needed.
"""

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.losses.sparc import align, sparc_loss, token_losses
from hilight_jax.ops.vectors import unit


def check(case):
    """Compares every sub-case that the file has patches for."""
    for match in case.names(r"inputs/(.+)\.v_patch_embed"):
        _check_sub_case(case, match[1])


def _check_sub_case(case, name):
    patches, tokens = case.input(f"{name}.v_patch_embed"), case.input(f"{name}.l_token_embed")
    mask = case.input(f"{name}.language_mask")
    mask = np.ones(tokens.shape[:2], bool) if mask is None else mask > 0
    scale = case.input("inverse_temperature")
    scale = case.input(f"{name}.inverse_temperature") if scale is None else scale

    inputs = {"v_patch_embed": patches, "l_token_embed": tokens, "inverse_temperature": scale}

    @jax.jit
    def everything(inputs):
        grads, values = jax.jacrev(lambda inputs: _values(mask, **inputs), has_aux=True)(inputs)
        return values, grads

    values, grads = everything(inputs)
    case.compare_all(values, prefix=f"outputs/{name}.")
    case.compare_all(_totals(case.config, values), prefix=f"outputs/{name}.")
    for key, of_inputs in (grads | _totals(case.config, grads)).items():
        case.compare_all(of_inputs, prefix=f"grads/{name}.{key}.")


def _values(mask, v_patch_embed, l_token_embed, inverse_temperature):
    """The four losses that gradients are wanted of; and these with all that leads to them."""
    frames = v_patch_embed if v_patch_embed.ndim == 4 else v_patch_embed[:, None]
    log_scale = jnp.log(inverse_temperature)
    losses = {
        "local_loss": sparc_loss(frames, l_token_embed, mask, log_scale).value(),
        "local_loss_sample_mean": sparc_loss(frames, l_token_embed, mask, log_scale, "sample").value(),
    }
    values = _intermediates(frames, l_token_embed, mask, log_scale, patch_axes=v_patch_embed.shape[1:-1])
    for which, valid in (("masked", mask), ("unmasked", np.ones_like(mask))):
        found = _global(frames, l_token_embed, valid, inverse_temperature)
        losses[f"global_loss_{which}"] = found["global_loss"]
        values |= {f"{key}_{which}": x for key, x in found.items()}
    values["v_embed"] = values["v_embed_masked"]
    return losses, values | losses


def _totals(config, losses):
    """The weighted sums of a global and a local loss, or of their gradients."""

    def total(key, local):
        return jax.tree.map(
            lambda x, y: config["lambda_g"] * x + config["lambda_l"] * y, losses[f"global_loss_{key}"], losses[local]
        )

    return {
        "total_listing": total("unmasked", "local_loss"),
        "total_masked": total("masked", "local_loss"),
        "total_masked_sample_mean": total("masked", "local_loss_sample_mean"),
    }


def _intermediates(frames, tokens, mask, log_scale, patch_axes):
    """The steps to the local loss by the golden's names; patches of images, as in the paper, have one axis."""
    found = align(frames, tokens)
    shape = tokens.shape[:2] + patch_axes
    vl, lv = token_losses(found.grouped, tokens, mask, log_scale)
    count = mask.sum(1)
    values = {
        "similarity": found.similarity.reshape(shape),
        "similarity_minmax": found.scaled.reshape(shape),
        "similarity_thresholded": found.kept.reshape(shape),
        "v_align_weights": found.weights.reshape(shape),
        "l_grouped_v_patch_embed": found.grouped,
        "l_grouped_v_patch_embed_normalized": unit(found.grouped),
        "l_token_embed_normalized": unit(tokens),
        "token_loss_vl": vl,
        "token_loss_lv": lv,
    }
    for key, losses in (("vl", vl), ("lv", lv)):
        values[f"loss_{key}_local"] = losses.sum() / max(count.sum(), 1)
        sample_means = losses.sum(1) / np.maximum(count, 1)
        values[f"loss_{key}_local_sample_mean"] = sample_means.sum() / max((count > 0).sum(), 1)
    return values


def _global(frames, tokens, mask, scale):
    """The paper's global loss: mean patch against mean token, over valid tokens (its text) or all (Listing 1)."""
    video = unit(jnp.mean(frames, axis=(1, 2)))
    text = unit(jnp.sum(jnp.where(mask[..., None], tokens, 0), axis=1) / np.maximum(mask.sum(1), 1)[:, None])
    logits = scale * jnp.matmul(video, text.T, precision="highest")
    vl = -jnp.mean(jnp.diagonal(jax.nn.log_softmax(logits, axis=1)))
    lv = -jnp.mean(jnp.diagonal(jax.nn.log_softmax(logits, axis=0)))
    return {
        "v_embed": video,
        "l_embed": text,
        "global_loss_vl": vl,
        "global_loss_lv": lv,
        "global_loss": (vl + lv) / 2,
    }
