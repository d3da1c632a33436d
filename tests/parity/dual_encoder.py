"""Our dual encoder under a golden's sizes and weights, for the kinds that run CLIP-ViP's towers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.core.mesh import make_mesh
from hilight_jax.core.trees import flatten
from hilight_jax.formats.clip_names import from_official, to_official
from hilight_jax.losses.contrastive import LOSSES, contrastive_loss
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.video_text import DualEncoder, DualEncoderConfig
from tests.parity.case import Case


def build(case: Case, parts: tuple[str, ...] = ()) -> tuple[DualEncoder, dict[str, Any]]:
    """Returns the model of ``case.config`` without local heads, and the case's weights in our tree.

    Args:
      case: A case whose weights are an official state dict.
      parts: Top names to import where the file holds only a part of the model; empty for all.
    """
    sizes = case.config
    vision = VisionConfig(
        image_size=sizes["image_size"],
        patch_size=sizes["patch_size"],
        width=sizes["v_hidden"],
        depth=sizes["v_layers"],
        num_heads=sizes["v_heads"],
        mlp_dim=sizes["v_inter"],
        num_frames=sizes["temporal_size"],
        num_proxy_tokens=1 + sizes["add_cls_num"],
        temporal_embedding=bool(sizes.get("if_use_temporal_embed", 1)),
    )
    text = TextConfig(width=8, depth=1, num_heads=1, mlp_dim=8)
    if "t_hidden" in sizes:
        text = TextConfig(
            vocab_size=sizes["vocab_size"],
            max_length=sizes["max_positions"],
            width=sizes["t_hidden"],
            depth=sizes["t_layers"],
            num_heads=sizes["t_heads"],
            mlp_dim=sizes["t_inter"],
        )
    config = DualEncoderConfig(
        vision,
        text,
        embed_dim=sizes["projection_dim"],
        local=LocalHeadsConfig(levels=()),
        compute=ComputeConfig(dtype=case.dtype, param_dtype=case.dtype),
    )
    model = DualEncoder(config)
    video = jnp.zeros((1, 1, vision.image_size, vision.image_size, 3), case.dtype)
    template = jax.eval_shape(model.init, jax.random.key(0), video, jnp.zeros((1, 1), jnp.int32))["params"]
    template = {name: template[name] for name in parts or template}
    return model, from_official(case.weights(), template)


def run(model: DualEncoder, params: dict[str, Any], video: Any, ids: Any, mask: Any) -> tuple[dict, dict[str, Any]]:
    """Applies the model with all hidden states; returns its outputs and every submodule's, ``{'vision/...': x}``."""
    kept = {"capture_intermediates": True, "mutable": ["intermediates"]}
    out, kept = model.apply({"params": params}, video, ids, mask, hidden_states=True, **kept)
    calls = flatten(kept["intermediates"])
    return out, {path.removesuffix("/__call__"): results[0] for path, results in calls.items()}


def compiled(function: Callable) -> Callable:
    """``jax.jit`` that compiles fast rather than well."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def contrast(loss: str, log_scale: Any, **embeds: Any) -> jax.Array:
    """The value of a contrastive loss as training computes it, on a mesh of one device."""
    mesh = make_mesh(devices=jax.devices()[:1])
    return contrastive_loss(LOSSES[loss], embeds, log_scale, mesh).value()


def differentiate(function: Callable[[Any], tuple[Any, Any]], params: dict[str, Any]) -> tuple[Any, Any, dict]:
    """For ``function(params) -> (loss, aux)``: the loss, aux, and the gradients under the official names."""
    (loss, aux), gradients = compiled(jax.value_and_grad(function, has_aux=True))(params)
    return loss, aux, to_official(gradients)


def frames_last(video: np.ndarray | None) -> np.ndarray | None:
    """From the original's [..., C, Y, X] to our [..., Y, X, C]."""
    return None if video is None else np.moveaxis(video, -3, -1)


def prefix_of(case: Case, name: str) -> str:
    """The prefix of the case's official weight names, such as ``clipmodel.``; ``name`` is one of them."""
    (match,) = case.names(rf"weights/(.*){name}")
    return match[1]
