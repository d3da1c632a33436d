"""Long-CLIP's training objective: both losses, the features behind them, and the gradient of every trained weight."""

import jax
import jax.numpy as jnp

from hilight_jax.core.mesh import make_mesh
from hilight_jax.formats.long_clip_names import to_official
from hilight_jax.losses.long_short_contrast import LongClipLossConfig, long_clip_loss
from hilight_jax.losses.principal_components import principal_components
from hilight_jax.ops.vectors import unit
from tests.parity import dual_encoder, long_clip
from tests.parity.case import Case


def check(case: Case) -> None:
    """One group, the whole batch: the original ran on one device."""
    model, params = long_clip.build(case)
    image = dual_encoder.frames_last(case.input("image"))
    texts = jnp.concatenate([case.input("text_long"), case.input("text_short")])
    config = LongClipLossConfig(group_size=len(image))
    mesh = make_mesh(devices=jax.devices()[:1])

    def objective(params):
        out = model.apply({"params": params}, image, texts)
        long, short = jnp.split(out["text_embeds"], 2)
        means = long_clip_loss(config, out["image_embeds"], long, short, out["logit_scale"], mesh)
        losses = {name: mean.value() for name, mean in means.items()}
        features = {name: unit(x) for name, x in (("image", out["image_embeds"]), ("long", long), ("short", short))}
        return losses["long"] + losses["short"], (losses, features)

    (total, (losses, features)), gradients = dual_encoder.compiled(jax.value_and_grad(objective, has_aux=True))(params)
    values = {
        "loss_itcl": losses["long"],
        "loss_itcs": losses["short"],
        "loss_total": total,
        "image_features_long": features["image"],
        "image_features_short_PCA32": principal_components(features["image"], config.components),
        "text_long_features": features["long"],
        "text_short_features": features["short"],
    }
    case.compare_all(values, "outputs/")
    case.compare_all(to_official(gradients), "grads/")
