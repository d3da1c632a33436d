"""Kind ``clip_vip_losses``: the two losses of CLIP-ViP's shipped configs, on vectors that stand alone."""

import jax

from hilight_jax.losses.contrastive import clamp_log_scale, nce, nce_vsc_fc

LOSSES = {
    "NCELearnableTempLoss": (nce, ("vis_feat", "text_feat", "logit_scale")),
    "NCELearnableTempLoss_vsc_fc": (nce_vsc_fc, ("vis_feat", "text_feat", "cap_feat", "img_feat", "logit_scale")),
}


def check(case):
    """Compares both losses and their gradients with respect to every input, and the clamp of the scale."""
    for name, (loss, arguments) in LOSSES.items():
        inputs = tuple(case.input(argument) for argument in arguments)
        if any(x is None for x in inputs):
            continue
        value, grads = jax.jit(jax.value_and_grad(lambda xs, loss=loss: loss(*xs).value()))(inputs)
        case.compare(f"outputs/{name}", value)
        case.compare_all(dict(zip(arguments, grads, strict=True)), prefix=f"grads/{name}.")
    unclamped = case.input("logit_scale_clamp_example_in")
    if unclamped is not None:
        case.compare("outputs/logit_scale_clamp_example_out", clamp_log_scale(unclamped))
