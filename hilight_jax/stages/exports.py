"""From a working directory to what an exporter takes: all parts of a model, from whichever runs made them, unread."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from hilight_jax.checkpoints.store import Store, name_report
from hilight_jax.core import trees
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.data.conversation import VIDEO_MARK, Turn
from hilight_jax.data.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.key_frames import choose_key_frames
from hilight_jax.data.prompts import expand, prompt_ids
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.evals.evaluation import default_similarity
from hilight_jax.exporters.exported import ExportedChat, ExportedEncoder
from hilight_jax.exporters.fingerprint import ANSWER_LENGTH, QUESTION, Fingerprint, fixed_clip
from hilight_jax.exporters.merging import merge_lazily
from hilight_jax.losses.local import LocalLossConfig
from hilight_jax.models import hilight, video_text
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.lora import COLLECTION
from hilight_jax.serving.generate import Generator, Prompt
from hilight_jax.serving.sampling import SamplingConfig
from hilight_jax.stages.chat_tokenizer import TOKENIZER
from hilight_jax.training.chat_config import ChatTrainConfig
from hilight_jax.training.encoder import Encoder
from hilight_jax.training.encoder_config import EncoderTrainConfig, LossConfig
from hilight_jax.training.experiment import read_config
from hilight_jax.training.optimizer import OptimizerConfig
from hilight_jax.training.parts import lazy_part, read_provenance

Which = Literal["best", "latest"]
_PLAIN = ComputeConfig()


@dataclasses.dataclass(frozen=True)
class Gathered:
    """A model to export, and what is known of it.

    Attributes:
      model: For the exporter.
      check: To be called when all arrays were read: compares parts of other runs with what provenance says.
      run: The whole configuration of the run.
      step: Of the run.
      metrics: Figures of its evaluation, as far as there are any.
    """

    model: ExportedChat | ExportedEncoder
    check: Callable[[], None]
    run: ChatTrainConfig | EncoderTrainConfig
    step: int
    metrics: Mapping[str, Any]


def gather(workdir: Path, which: Which, dtype: str, merge: bool) -> Gathered:
    """Finds all parts of the model of a run of ``encoder``, ``align`` or ``tune``.

    Args:
      workdir: The run.
      which: Its best or its latest step.
      dtype: Of the exported weights.
      merge: Add LoRA's deltas to the language model.

    Raises:
      CheckpointError: It is another stage's run, or a part is missing or does not fit.
    """
    run = read_config(workdir)
    if isinstance(run, EncoderTrainConfig):
        model, check = _encoder(workdir, run, which, dtype), lambda: None
    elif isinstance(run, ChatTrainConfig):
        model, check = _chat(workdir, run, which, dtype, merge)
    else:
        raise CheckpointError(
            f"'{workdir}' is a run of the stage '{run.stage}', which is a part of a model; name a run of encoder, "
            f"align or tune."
        )
    return Gathered(model, check, run, _step(workdir, which), _metrics(workdir))


def measure(model: ExportedChat | ExportedEncoder) -> Fingerprint:
    """Runs the model on the fixed clip; it must fit into memory."""
    params = jax.tree.map(lambda x: np.asarray(x).astype(np.float32), model.params, is_leaf=_is_lazy)
    if isinstance(model, ExportedEncoder):
        return _measure_encoder(model, params)
    data, config = model.data, dataclasses.replace(model.config, compute=_PLAIN)
    frames = fixed_clip(data.num_frames, data.image_size)
    tokenizer = GemmaTokenizer(model.tokenizer)
    tokenizer.stop_ids = ()  # All 32 tokens are wanted, whatever they are.
    ids = prompt_ids([Turn("user", f"{VIDEO_MARK}\n{QUESTION}")], tokenizer)
    ids = expand(ids, None, data.num_video_tokens)[0]
    generator = Generator(config, params, tokenizer, len(ids) + ANSWER_LENGTH)
    keys = np.asarray(choose_key_frames(data.key_frames, frames), np.int32)
    clip = generator.encode_clip(frames, keys)
    prompt = Prompt(ids, (clip,))
    return Fingerprint(
        {
            "frames": frames,
            "key_frames": keys,
            "ids": ids.astype(np.int32),
            "video_tokens": clip.tokens.astype(np.float32),
            "logits": generator.next_logits([prompt])[0].astype(np.float32),
            "answer_ids": _greedy(generator, prompt),
        }
    )


def _measure_encoder(model: ExportedEncoder, params: trees.Tree) -> Fingerprint:
    frames = fixed_clip(model.data.num_frames, model.data.image_size)
    run = EncoderTrainConfig(
        name="encoder",
        preset="export",
        steps=1,
        batch_size=1,
        optimizer=OptimizerConfig(),
        model=dataclasses.replace(model.config, compute=_PLAIN),
        loss=_loss(model),
        data=model.data,
    )
    encoder = Encoder(run, params)
    tokens = ClipTokenizer(model.data.text_length)("the cue ball hits the red ball")
    return Fingerprint(
        {
            "frames": frames,
            "text_ids": tokens.ids.astype(np.int32),
            "text_mask": tokens.mask,
            "video_embeds": encoder.encode_video(frames[None])["video_embeds"][0],
            "text_embeds": encoder.encode_text(tokens.ids[None], tokens.mask[None])["text_embeds"][0],
        }
    )


def _loss(model: ExportedEncoder) -> LossConfig:
    contrast = "within_clip" if model.config.local.levels else "none"
    return LossConfig(local=LocalLossConfig(contrast=contrast))


def _greedy(generator: Generator, prompt: Prompt) -> np.ndarray:
    (answer,) = generator.generate([prompt], SamplingConfig(max_new_tokens=ANSWER_LENGTH))
    return answer.ids.astype(np.int32)


def _encoder(workdir: Path, run: EncoderTrainConfig, which: Which, dtype: str) -> ExportedEncoder:
    store = Store(workdir / "checkpoints", run.keep, read_only=True)
    params = store.lazy_params(_step(workdir, which))
    if complaints := name_report(video_text.param_shapes(run.model), params):
        raise CheckpointError(f"'{workdir}' does not fit its own configuration: {'; '.join(complaints)}.")
    return ExportedEncoder(run.model, _cast(params, dtype), run.data, default_similarity(run))


def _chat(
    workdir: Path, run: ChatTrainConfig, which: Which, dtype: str, merge: bool
) -> tuple[ExportedChat, Callable[[], None]]:
    config, params, checks = run.model, {}, []
    shapes = hilight.param_shapes(config)
    for part in shapes:
        params[part], check = lazy_part(workdir, part, which)
        checks.append(check)
    if complaints := name_report(shapes, params):
        raise CheckpointError(f"'{workdir}' does not fit its own configuration: {'; '.join(complaints)}.")
    tokenizer = workdir / TOKENIZER
    if not tokenizer.is_file():
        raise CheckpointError(f"'{workdir}' has lost its {TOKENIZER}; copy it back from the run that it builds on.")
    if merge and COLLECTION in params:
        params["gemma"] = merge_lazily(params["gemma"], params.pop(COLLECTION)["gemma"], config.lora)
        config = dataclasses.replace(config, lora=None)
    extra = {"encoder": _beside(workdir, "vision"), "long_clip": _beside(workdir, "frames")}
    extra = {name: _cast(tree, dtype) for name, tree in extra.items() if tree}

    def check() -> None:
        for one in checks:
            one()

    return ExportedChat(config, _cast(params, dtype), run.data, tokenizer, extra), check


def _beside(workdir: Path, part: str) -> dict[str, Any]:
    """What the run that made a part holds beside it; nothing where that run is gone."""
    step: Which | int = "latest"
    while (origin := read_provenance(workdir).get(part)) is not None:
        workdir, step = Path(origin.workdir), origin.step
    try:
        store = Store(workdir / "checkpoints", read_only=True)
        params = store.lazy_params(store.latest() if step == "latest" else step)
    except CheckpointError:
        return {}
    chat = any(name in params for name in ("token_mining", "gemma"))
    return {} if chat or part not in params else {name: tree for name, tree in params.items() if name != part}


def _cast(tree: trees.Tree, dtype: str) -> dict[str, Any]:
    return trees.map_with_path(lambda _, leaf: leaf.astype(dtype), tree)


def _step(workdir: Path, which: Which) -> int:
    store = Store(workdir / "checkpoints", read_config(workdir).keep, read_only=True)
    step = {"best": store.best, "latest": store.latest}[which]()
    if step is None:
        raise CheckpointError(f"'{workdir}' holds no finished checkpoint yet; train it first.")
    return step


def _metrics(workdir: Path) -> dict[str, Any]:
    """The last evaluation inside the training: what ``metrics.jsonl`` says of validation data."""
    path = workdir / "metrics.jsonl"
    found: dict[str, Any] = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        found |= {name: value for name, value in json.loads(line).items() if name.startswith("validation/")}
    return found


def _is_lazy(x: Any) -> bool:
    return isinstance(x, LazyArray)
