"""CLIP-ViP on clips of other lengths than its temporal embedding: sub-case ``T{T}`` is the first T frames."""

from hilight_jax.models.clip_vip import interpolate_frames
from tests.parity import dual_encoder
from tests.parity.case import Case


def check(case: Case) -> None:
    """Runs every length that the tensor names hold, forward and backward."""
    model, params = dual_encoder.build(case)
    video = dual_encoder.frames_last(case.input("video"))
    ids, mask = case.input("input_ids"), case.input("attention_mask")
    lengths = {int(match[2]) for match in case.names(r"(outputs|grads)/T(\d+)\..*")}
    for length in sorted(lengths):

        def objective(params, clip=video[:, :length]):
            out, inner = dual_encoder.run(model, params, clip, ids, mask)
            embeds = {"video": out["video_embeds"], "text": out["text_embeds"]}
            return dual_encoder.contrast("nce", out["logit_scale"], **embeds), (out, inner)

        loss, (out, inner), gradients = dual_encoder.differentiate(objective, params)
        values = {
            "vision.embeddings": inner["vision/embeddings"],
            "vision.last_hidden_state": out["video_tokens"],
            "vision.pooler_output": out["video_pooled"],
            "image_embeds": out["video_embeds"],
            "text_embeds": out["text_embeds"],
            "NCELearnableTempLoss": loss,
        }
        table = params["vision"]["embeddings"].get("temporal_embedding")
        if table is not None:
            values["temporal_embedding_interpolated"] = interpolate_frames(table, length)[None]
        case.compare_all(values, f"outputs/T{length}.")
        case.compare_all(gradients, f"grads/T{length}.")
