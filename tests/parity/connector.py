"""Token mining under a golden's sizes and weights: its outputs, every intermediate, all gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.core.trees import flatten
from hilight_jax.formats.hilight_names import token_mining_from_official, token_mining_to_official
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.token_mining import TokenMining, expand_frames
from hilight_jax.models.token_mining_config import TokenMiningConfig
from tests.parity.case import Case


def check_structure(case: Case, structure: str) -> None:
    """Runs the connector on the case's features and differentiates the weighted sum of its tokens."""
    sizes = case.config
    clip_tokens, frames, weights = case.input("videos"), case.input("videos_aux"), case.weights()
    config = TokenMiningConfig(
        structure=structure,
        tokens_per_frame=tokens_per_frame(weights) if structure == "dual_projector" else 1,
        final_relu=sizes.get("final_relu"),
        width_video=sizes["hidden_size"],
        width_frames=sizes["hidden_size_aux"],
        width_out=sizes["output_hidden_size"],
    )
    model = TokenMining(config, ComputeConfig(dtype=case.dtype, param_dtype=case.dtype))
    template = jax.eval_shape(model.init, jax.random.key(0), clip_tokens, frames)["params"]
    params = token_mining_from_official(weights, template)
    weight = case.input("loss_weight")

    def objective(params, clip_tokens, frames):
        kept = {"capture_intermediates": True, "mutable": ["intermediates"]}
        out, kept = model.apply({"params": params}, clip_tokens, frames, **kept)
        loss = jnp.sum(out["tokens"]) if weight is None else jnp.sum(out["tokens"] * weight)
        return loss, (out, flatten(kept["intermediates"]))

    gradient = jax.jit(jax.value_and_grad(objective, argnums=(0, 1, 2), has_aux=True))
    (loss, (out, calls)), (of_params, *of_inputs) = gradient(params, clip_tokens, frames)
    inner = {path.removesuffix("/__call__"): results[0] for path, results in calls.items()}
    case.compare("outputs/loss", np.reshape(loss, 1))
    case.compare_all(_values(config, frames, out, inner), "outputs/")
    case.compare_all(token_mining_to_official(of_params), "outputs/grad/")
    case.compare_all(dict(zip(("videos", "videos_aux"), of_inputs, strict=True)), "outputs/grad_input/")


def tokens_per_frame(weights: dict[str, np.ndarray], prefix: str = "") -> int:
    """The number of tokens that the released structure with these official weights makes of a frame."""
    return weights[f"{prefix}LongCLIP_projector.0.bias"].size


def _values(config: TokenMiningConfig, frames: np.ndarray, out: dict, inner: dict) -> dict[str, Any]:
    """Values under the original's names."""
    values = {
        "embed_feat": out["tokens"],
        "expanded_aux": frames,
        "embed_query": inner["query"],
        "embed_key": inner["key"],
        "embed_value": inner["value"],
        "attended": jnp.einsum("BVS,BSE->BVE", out["attention"], inner["value"]),
    }
    if config.structure == "dual_projector":
        values["videos_projected"] = jax.nn.relu(inner["video_projector"])
        values["expanded_aux"] = expand_frames(jax.nn.relu(inner["frame_expansion"]), config.expansion)
    return values
