"""HiLight's ``LongCLIPVisionTower``: every frame's embedding, not normalised, with weights rounded through float16."""

import jax

from tests.parity import dual_encoder, long_clip
from tests.parity.case import Case


def check(case: Case) -> None:
    """Runs every clip with rounded and with exact weights, and the text tower with exact ones.

    Given its first two clips as a list, the original returns the embeddings of the last alone: ``list_input``.
    """
    model, exact = long_clip.build(case)
    _, rounded = long_clip.build(case, fp16_rounded=True)
    encode = dual_encoder.compiled(
        lambda params, clip: jax.vmap(lambda frames: model.apply({"params": params}, frames, method="encode_image"))(
            clip
        )
    )
    for match in list(case.names(r"inputs/(?!text)(.+)")):
        name, video = match[1], dual_encoder.frames_last(case.input(match[1]))
        embeds = encode(rounded, video)
        case.compare(f"outputs/{name}.tower_output", embeds)
        case.compare(f"outputs/{name}.tower_output_without_fp16_rounding", encode(exact, video))
        case.compare("outputs/list_input.tower_output", embeds[1:2])
    text = case.input("text")
    if text is not None:
        embeds = model.apply({"params": exact}, text, method="encode_text")
        case.compare("outputs/encode_text_without_fp16_rounding", embeds)
