"""Long-CLIP's towers: every block's output, embeddings and logits."""

import jax.numpy as jnp
import numpy as np

from hilight_jax.ops.vectors import unit
from tests.parity import dual_encoder, long_clip
from tests.parity.case import Case


def check(case: Case) -> None:
    """Runs both towers once; neither normalises."""
    model, params = long_clip.build(case)
    image, text = dual_encoder.frames_last(case.input("image")), case.input("text")

    @dual_encoder.compiled
    def towers(params):
        kept = {"capture_intermediates": True, "mutable": ["intermediates"]}
        frames, inner = model.apply(
            {"params": params}, image, method=lambda model, x: model.frames(x, keep_outputs=True), **kept
        )
        texts = model.apply({"params": params}, text, method=lambda model, x: model.text(x, keep_outputs=True))
        patches = inner["intermediates"]["frames"]["embeddings"]["patch_embedding"]["__call__"][0]
        return frames, texts, patches

    frames, texts, patches = towers(params)
    rows = image.shape[1] // model.config.frames.patch_size
    patches = np.asarray(patches).reshape(len(image), rows, -1, patches.shape[-1])
    scale = jnp.exp(params["logit_scale"])
    values = {
        "visual.conv1": np.moveaxis(patches, -1, 1),
        "visual.ln_pre": frames["embeddings"],
        "visual.ln_post": frames["pooled"],
        "encode_image": frames["embeds"],
        "text.embeddings_plus_pos": texts["embeddings"],
        "encode_text": texts["embeds"],
        "encode_text_full": texts["tokens"],
        "logits_per_image": scale * unit(frames["embeds"]) @ unit(texts["embeds"]).T,
        "logits_per_text": scale * unit(texts["embeds"]) @ unit(frames["embeds"]).T,
    }
    for tower, out in (("visual", frames), ("text", texts)):
        values |= {f"{tower}.resblock.{k}": x for k, x in enumerate(out["outputs"])}
    case.compare_all(values, "outputs/")
