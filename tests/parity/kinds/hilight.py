"""HiLight end to end: towers, token mining, splice, Gemma, loss, gradients, generation.

The original merges text and video sample by sample in Python; its rules are written out here (``_merge``) on ids, so
that the model sees what ``data`` gives it: expanded ids of one length.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.core.shapes import IGNORE_ID, VIDEO_ID
from hilight_jax.data.conversations.prompts import expand
from hilight_jax.formats.hilight_names import TOKEN_MINING_PREFIX, from_official, to_official
from hilight_jax.losses.next_token import next_token
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import gemma_config_from_json
from hilight_jax.models.gemma_decoding import init_cache
from hilight_jax.models.hilight import HiLight, param_shapes
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.long_clip import FrameConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig
from tests.parity.case import Case
from tests.parity.connector import tokens_per_frame
from tests.parity.dual_encoder import compiled, frames_last
from tests.parity.padding import pad_batch
from tests.parity.tolerances import FROM_OFFICIAL_FLOAT16


class Batch(NamedTuple):
    """The input of one forward pass of the original after it has merged text and video.

    Attributes:
      ids: Expanded ids [B, L], padded with 0.
      labels: [B, L], padding ignored.
      mask: bool [B, L].
      clips: [B, U], numbers of the samples' clips in the order of their rows; -1 where a sample has fewer.
    """

    ids: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    clips: np.ndarray


def check(case: Case) -> None:
    """Runs training, the released model's float16 rounding, and generation, as far as the case has each."""
    model, params = _build(case)
    ids = case.input("input_ids")
    if ids is not None:
        check_forward(case, model, params, ids)
    ids = case.input("gen_input_ids")
    if ids is not None:
        check_generation(case, model, params, ids)


def check_forward(case: Case, model: HiLight, params: dict[str, Any], ids: np.ndarray) -> None:
    videos, masked, labelled = case.input("videos"), case.input("attention_mask"), case.input("labels")
    towers = _encode(case, model, params, videos)
    rows = 0 if towers is None else model.config.num_video_tokens(videos.shape[1])
    batch = _merge(case, ids, masked, labelled, rows)
    # Without a mask the original attends to the rows that it padded with, which are zeros.
    seen = batch.mask if masked is not None else np.ones_like(batch.mask)
    positions = np.broadcast_to(np.arange(batch.ids.shape[1]), batch.ids.shape)

    def objective(trained):
        variables = {"params": params | trained}
        mined = None
        embeds = jnp.zeros((len(batch.ids), 0, model.config.gemma.width), case.dtype)
        if towers is not None:
            mined = model.apply(variables, *towers, method="mine")["tokens"]
            embeds = mined[batch.clips].reshape(len(batch.ids), -1, mined.shape[-1])
        embeds = model.apply(variables, batch.ids, embeds, method="embed") * batch.mask[..., None]
        out = model.apply(variables, embeds, positions, seen, keep_outputs=True, method="language")
        loss = next_token(out["tokens"], lambda x: model.apply(variables, x, method="logits"), batch.labels).value()
        logits = model.apply(variables, out["tokens"], method="logits")
        return loss, (mined, embeds, out["outputs"], out["tokens"], logits)

    trained = {name: params[name] for name in ("token_mining", "gemma")}
    gradient = compiled(jax.value_and_grad(objective, has_aux=True))
    (loss, (mined, embeds, outputs, tokens, logits)), gradients = gradient(trained)
    if mined is not None:
        case.compare("outputs/video_feat", mined)
    case.compare("outputs/new_input_embeds", embeds)
    case.exact("outputs/new_attention_mask", batch.mask.astype(np.int32))
    case.exact("outputs/new_labels", batch.labels)
    for k, hidden in enumerate((*outputs[:-1], tokens)):
        _compare_real(case, f"outputs/hidden_{k}", hidden, seen)
    _compare_real(case, "outputs/logits", logits, seen)
    if labelled is not None:
        case.compare("outputs/loss", np.reshape(loss, 1))
        case.compare_all(to_official(gradients), "outputs/grad/")
    if towers is not None and masked is not None:
        _check_training_path(case, model, params, batch, towers, positions)
    _check_half(case, model, params, batch, embeds, positions, seen)


def _check_training_path(case: Case, model: HiLight, params: Any, batch: Batch, towers: Any, positions: Any) -> None:
    """The model's own call gives the same logits, with zeros for clips that a sample does not have."""
    absent = batch.clips < 0
    features = (np.where(absent.reshape(*absent.shape, 1, 1), 0, np.asarray(x)[batch.clips]) for x in towers)

    @compiled
    def run(params, *arguments):
        tokens = model.apply({"params": params}, batch.ids, batch.mask, *arguments, positions=positions)
        return model.apply({"params": params}, tokens, method="logits")

    _compare_real(case, "outputs/logits", run(params, *features), batch.mask)


def _check_half(case: Case, model: HiLight, params: Any, batch: Batch, embeds: Any, positions: Any, seen: Any) -> None:
    """The released forward pass, which rounds merged embeddings to float16; it merges nothing without videos."""
    name = "outputs/new_input_embeds_official_fp16"

    @compiled
    def run(params, embeds):
        tokens = model.apply({"params": params}, embeds, positions, seen, method="language")["tokens"]
        logits = model.apply({"params": params}, tokens, method="logits")
        return logits, next_token(logits, lambda x: x, batch.labels).value()

    half = jnp.asarray(embeds).astype(jnp.float16) if batch.clips.size else embeds
    case.compare(name, half)
    logits, loss = run(params, half)
    _compare_real(case, "outputs/logits_official_fp16cast", logits, seen)
    case.compare("outputs/loss_official_fp16cast", np.reshape(loss, 1))
    if name in case.tensors:
        logits, _ = run(params, jnp.asarray(case.tensors[name], jnp.float16))
        _compare_real(case, "outputs/logits_official_fp16cast", logits, seen, FROM_OFFICIAL_FLOAT16)


def check_generation(case: Case, model: HiLight, params: dict[str, Any], ids: np.ndarray) -> None:
    """Greedy decoding through the cache; the original encodes prompts of one length, and takes every id for real."""
    expected = case.tensors.get("outputs/generated")
    expected = case.tensors["outputs/gen_logits"][None, :, 0] if expected is None else expected
    steps, eos = expected.shape[1], case.config["llm"]["eos_token_id"]
    towers = _encode(case, model, params, case.input("gen_videos"), compare=False)
    rows = 0 if towers is None else model.config.num_video_tokens(towers[1].shape[1])
    batch = _merge(case, ids, None, None, rows)
    variables = {"params": params}
    mined = jnp.zeros((len(ids), 0, model.config.gemma.width), case.dtype)
    if towers is not None:
        tokens = model.apply(variables, *towers, method="mine")["tokens"]
        mined = tokens[batch.clips].reshape(len(ids), -1, tokens.shape[-1])
    embeds = model.apply(variables, batch.ids, mined, method="embed")

    @compiled
    def step(embeds, cache):
        length = embeds.shape[1]
        positions = jnp.broadcast_to(cache.length + jnp.arange(length), embeds.shape[:2])
        mask = jnp.ones(embeds.shape[:2], bool)
        out = model.apply(variables, embeds, positions, mask, cache, method="language")
        return model.apply(variables, out["tokens"][:, -1:], method="logits")[:, 0], out["cache"]

    cache = init_cache(model.config.gemma, len(ids), embeds.shape[1] + steps, jnp.dtype(case.dtype))
    logits, generated, ended = [], [], np.zeros(len(ids), bool)
    for _ in range(steps):
        scores, cache = step(embeds, cache)
        chosen = np.where(ended, 0, np.argmax(scores, axis=-1))
        ended |= chosen == eos
        logits.append(scores)
        generated.append(chosen)
        embeds = model.apply(variables, chosen[:, None], mined[:, :0], method="embed")
    case.exact("outputs/generated", np.stack(generated, axis=1))
    stacked = np.stack(logits)
    case.compare("outputs/gen_logits", stacked[:, 0] if len(ids) == 1 else stacked)


def _merge(case: Case, ids: np.ndarray, mask: Any, labels: Any, rows: int) -> Batch:
    """The original's ``prepare_inputs_labels_for_multimodal`` on ids; without videos it does nothing at all.

    Padding falls away, each video mark becomes ``rows`` rows, a sample without marks still uses up a clip, the first
    ``tokenizer_model_max_length`` rows stay, and the samples are padded anew, on the configured side.
    """
    kept = np.ones(ids.shape, bool) if mask is None else mask.astype(bool)
    labels = np.full_like(ids, IGNORE_ID) if labels is None else labels
    if not rows:
        return Batch(ids, labels, kept, np.zeros((len(ids), 0), np.int32))
    limit = case.sidecar.get("tokenizer_model_max_length")
    samples, clips, next_clip = [], [], 0
    for one_ids, one_labels, one_kept in zip(ids, labels, kept, strict=True):
        one_ids, one_labels = one_ids[one_kept], one_labels[one_kept]
        num_clips = np.count_nonzero(one_ids == VIDEO_ID)
        samples.append(tuple(x[:limit] for x in expand(one_ids, one_labels, rows)))
        clips.append(range(next_clip, next_clip + num_clips))
        next_clip += max(1, num_clips)
    lengths = np.array([len(one_ids) for one_ids, _ in samples])
    side = case.sidecar.get("padding_side") or "right"
    ids, _, labels = pad_batch(samples, lengths.max(), side)
    mask = np.arange(lengths.max()) < lengths[:, None]
    places = np.full((len(ids), max(1, *map(len, clips))), -1)
    for row, numbers in enumerate(clips):
        places[row, : len(numbers)] = numbers
    return Batch(ids, labels, mask[:, ::-1] if side == "left" else mask, places)


def _encode(case: Case, model: HiLight, params: Any, videos: Any, compare: bool = True) -> tuple[Any, Any] | None:
    """Both towers' features of every clip; every frame is a key frame."""
    if videos is None:
        return None
    clips = frames_last(videos)
    keys = np.broadcast_to(np.arange(clips.shape[1]), clips.shape[:2])
    run = compiled(lambda params, *x: model.apply({"params": params}, *x, method="encode_video"))
    out = run(params, clips, keys)
    if compare:
        case.compare("outputs/clipvip_hidden", out["clip_tokens"])
        case.compare("outputs/longclip_feat", out["frame_features"])
    return out["clip_tokens"], out["frame_features"]


def _compare_real(case: Case, name: str, value: Any, real: np.ndarray, quantity: str | None = None) -> None:
    """Compares the rows of real tokens; what stands at padding means nothing on either side."""
    if name in case.tensors:
        case.compare(name, np.where(real[..., None], value, case.tensors[name]), quantity)


def _build(case: Case) -> tuple[HiLight, dict[str, Any]]:
    """The model of the case's sizes, and its weights as our tree."""
    sizes, weights = case.config, case.weights()
    tower = "model.vision_tower.vision_tower.model.vision_model.embeddings"
    added, times = weights[f"{tower}.added_cls"], weights[f"{tower}.temporal_embedding"]
    vision = VisionConfig(
        image_size=sizes["res"],
        patch_size=sizes["vip_patch"],
        width=sizes["h"],
        depth=sizes["vip_layers"],
        num_heads=sizes["vip_heads"],
        mlp_dim=sizes["vip_mlp"],
        num_frames=times.shape[-2],
        num_proxy_tokens=1 + len(added),
    )
    frames = FrameConfig(
        image_size=sizes["res"],
        patch_size=sizes["lc_patch"],
        width=sizes["lc_width"],
        depth=sizes["lc_layers"],
        num_heads=sizes["lc_width"] // 64,
        mlp_dim=4 * sizes["lc_width"],
        embed_dim=sizes["ha"],
    )
    gemma = gemma_config_from_json({"model_type": "gemma"} | sizes["llm"], "4.38.0")
    mining = TokenMiningConfig(
        tokens_per_frame=tokens_per_frame(weights, TOKEN_MINING_PREFIX),
        width_video=vision.width,
        width_frames=frames.embed_dim,
        width_out=gemma.width,
    )
    compute = ComputeConfig(dtype=case.dtype, param_dtype=case.dtype)
    config = HiLightConfig(vision, frames, mining, gemma, compute=compute)
    return HiLight(config), from_official(weights, param_shapes(config))
