"""HiLight's ``CLIPViPVisionTower``: all M + F * P tokens of the last layer, without the post norm."""

from tests.parity import dual_encoder
from tests.parity.case import Case


def check(case: Case) -> None:
    """Runs every clip of the case; the file may hold more of the official model than the tower."""
    parts = {
        part: match
        for part, match in (
            ("vision", r"weights/.*vision_model\..*"),
            ("visual_projection", r"weights/.*visual_projection\..*"),
            ("text", r"weights/.*text_model\..*"),
            ("text_projection", r"weights/.*text_projection\..*"),
            ("logit_scale", r"weights/.*logit_scale"),
        )
        if any(case.names(match))
    }
    model, params = dual_encoder.build(case, tuple(parts))
    proxies = model.config.vision.num_proxy_tokens

    @dual_encoder.compiled
    def tower(params, video):
        return model.apply({"params": params}, video, method=lambda model, video: model.vision(video))

    for match in list(case.names(r"inputs/(.+)")):
        video = dual_encoder.frames_last(case.input(match[1]))
        out = tower(params, video)
        tokens = out["tokens"]
        case.compare(f"outputs/{match[1]}.tower_output", tokens)
        patches = tokens[:, proxies:].reshape(*video.shape[:2], -1, tokens.shape[-1])
        case.compare(f"outputs/{match[1]}.patch_tokens", patches)
        case.compare(f"outputs/{match[1]}.pooler_output_unused", out["pooled"])
