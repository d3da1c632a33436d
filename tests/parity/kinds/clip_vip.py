"""CLIP-ViP's ``CLIPModel``: every hidden state of both towers, embeddings, losses, and gradients of every weight."""

import re

import jax.numpy as jnp
import numpy as np

from tests.parity import dual_encoder
from tests.parity.case import Case


def check(case: Case) -> None:
    """Runs the model once on the case's clips and captions, once per further clip, and differentiates the NCE loss."""
    model, params = dual_encoder.build(case)
    video = dual_encoder.frames_last(case.input("video"))
    ids, mask = case.input("input_ids"), case.input("attention_mask")

    def objective(params):
        out, inner = dual_encoder.run(model, params, video, ids, mask)
        embeds = {"video": out["video_embeds"], "text": out["text_embeds"]}
        return dual_encoder.contrast("nce", out["logit_scale"], **embeds), (out, inner)

    loss, (out, inner), gradients = dual_encoder.differentiate(objective, params)
    rows = video.shape[2] // model.config.vision.patch_size
    case.compare_all(_tower_outputs(out, inner, rows), "outputs/")
    logits = out["video_embeds"] @ out["text_embeds"].T * jnp.exp(out["logit_scale"])
    case.compare("outputs/logits_per_image", logits)
    case.compare("outputs/logits_per_text", logits.T)
    case.compare("outputs/NCELearnableTempLoss", loss)
    case.compare("outputs/clip_loss", loss / 2)
    case.compare("outputs/logit_scale", out["logit_scale"])
    case.compare("outputs/logit_scale_exp", jnp.exp(out["logit_scale"]))
    case.compare_all(gradients, "grads/")
    encode_text = dual_encoder.compiled(lambda params, x: model.apply({"params": params}, x, method="encode_text"))
    unmasked = encode_text(params, ids)
    case.compare("outputs/text_embeds_no_attention_mask", unmasked["text_embeds"])
    encode_video = dual_encoder.compiled(lambda params, x: model.apply({"params": params}, x, method="encode_video"))
    for match in list(case.names(r"inputs/video_(.+)")):
        clip = dual_encoder.frames_last(case.input(f"video_{match[1]}"))
        encoded = encode_video(params, clip)
        case.compare(f"outputs/image_embeds_{match[1]}", encoded["video_embeds"])


def _tower_outputs(out: dict, inner: dict, rows: int) -> dict[str, np.ndarray]:
    """Values under the original's names; ``inner`` holds the submodules' outputs, layers stacked."""
    batch, frames, patches, width = inner["vision/embeddings/patch_embedding"].shape
    conv = np.asarray(inner["vision/embeddings/patch_embedding"]).reshape(batch * frames, rows, patches // rows, width)
    values = {
        "vision.patch_conv": np.moveaxis(conv, -1, 1),
        "vision.embeddings": inner["vision/embeddings"],
        "vision.last_hidden_state": out["video_tokens"],
        "vision.pooler_output": out["video_pooled"],
        "image_features": inner["visual_projection"],
        "image_embeds": out["video_embeds"],
        "text.embeddings": out["text_hidden_states"][0],
        "text.last_hidden_state": out["text_tokens"],
        "text.pooler_output": out["text_pooled"],
        "text_features": inner["text_projection"],
        "text_embeds": out["text_embeds"],
    }
    for tower, side in (("vision", "video"), ("text", "text")):
        for k, state in enumerate(out[f"{side}_hidden_states"]):
            values[f"{tower}.hidden_states.{k}"] = state
        for path, stacked in inner.items():
            if match := re.fullmatch(rf"{tower}/encoder/layers/(self_attn|mlp)", path):
                for layer, x in enumerate(stacked):
                    values[f"{tower}.layer{layer}.{match[1]}_out"] = x
    return values
