"""CLIP-ViP's ``VidCLIP``: clips with subtitles beside single frames with captions, and the pretraining loss.

Sub-case ``n1`` has one frame and caption per clip (``image``, ``caption_ids``), ``n2`` two (``image2``,
``caption_ids2``). A frame is a clip of one frame, so its temporal embedding is the middle of the table.
"""

import jax.numpy as jnp

from tests.parity import dual_encoder
from tests.parity.case import Case


def check(case: Case) -> None:
    """Runs clips and frames, all our losses, and the gradients of NCELearnableTempLoss_vsc_fc."""
    model, params = dual_encoder.build(case)
    prefix = dual_encoder.prefix_of(case, "logit_scale")
    video = dual_encoder.frames_last(case.input("video"))
    ids, mask = case.input("text_ids"), case.input("text_mask")
    for suffix in [match[1] for match in case.names(r"inputs/image(\d*)")]:
        image = dual_encoder.frames_last(case.input(f"image{suffix}"))
        frames = image.reshape(-1, 1, *image.shape[2:])
        caption_ids, caption_mask = (_flat(case.input(f"caption_{name}{suffix}")) for name in ("ids", "masks"))

        def objective(params, frames=frames, caption_ids=caption_ids, caption_mask=caption_mask):
            clips, _ = dual_encoder.run(model, params, video, ids, mask)
            stills, inner = dual_encoder.run(model, params, frames, caption_ids, caption_mask)
            aux = clips, stills, inner
            if len(frames) != len(video):
                return jnp.zeros(()), aux
            embeds = {"video": clips["video_embeds"], "subtitle": clips["text_embeds"]}
            embeds |= {"caption": stills["text_embeds"], "frame": stills["video_embeds"]}
            return dual_encoder.contrast("nce_vsc_fc", clips["logit_scale"], **embeds), aux

        loss, (clips, stills, inner), gradients = dual_encoder.differentiate(objective, params)
        embeds = {"video": clips["video_embeds"], "text": clips["text_embeds"]}
        values = {
            "vis_features": clips["video_embeds"],
            "text_features": clips["text_embeds"],
            "img_features": stills["video_embeds"],
            "cap_features": stills["text_embeds"],
            "image_vision.embeddings": inner["vision/embeddings"],
            "image_vision.last_hidden_state": stills["video_tokens"],
            "image_vision.pooler_output": stills["video_pooled"],
            "NCELearnableTempLoss": dual_encoder.contrast("nce", clips["logit_scale"], **embeds),
        }
        if image.shape[1] == 1:
            values["NCELearnableTempLoss_vsc_fc"] = loss
            case.compare_all(gradients, f"grads/{prefix}")
            case.compare("outputs/forward_video", clips["video_embeds"])
            case.compare("outputs/forward_text", clips["text_embeds"])
        case.compare_all(values, f"outputs/n{image.shape[1]}.")


def _flat(captions):
    return None if captions is None else captions.reshape(-1, captions.shape[-1])
