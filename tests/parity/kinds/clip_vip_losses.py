"""Kind ``clip_vip_losses``: the two losses of CLIP-ViP's shipped configs, on vectors that stand alone."""

import jax

from hilight_jax.losses.contrastive import clamp_log_scale
from tests.parity import dual_encoder

# The original's loss: ours, and our names of its embeddings.
LOSSES = {
    "NCELearnableTempLoss": ("nce", {"video": "vis_feat", "text": "text_feat"}),
    "NCELearnableTempLoss_vsc_fc": (
        "nce_vsc_fc",
        {"video": "vis_feat", "subtitle": "text_feat", "caption": "cap_feat", "frame": "img_feat"},
    ),
}


def check(case):
    """Compares both losses and their gradients with respect to every input, and the clamp of the scale."""
    for name, (loss, names) in LOSSES.items():
        inputs = {theirs: case.input(theirs) for theirs in (*names.values(), "logit_scale")}
        if any(x is None for x in inputs.values()):
            continue

        def value(inputs, loss=loss, names=names):
            embeds = {ours: inputs[theirs] for ours, theirs in names.items()}
            return dual_encoder.contrast(loss, inputs["logit_scale"], **embeds)

        found, grads = jax.jit(jax.value_and_grad(value))(inputs)
        case.compare(f"outputs/{name}", found)
        case.compare_all(grads, prefix=f"grads/{name}.")
    unclamped = case.input("logit_scale_clamp_example_in")
    if unclamped is not None:
        case.compare("outputs/logit_scale_clamp_example_out", clamp_log_scale(unclamped))
