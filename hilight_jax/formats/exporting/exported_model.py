"""The model of a run as exporters take it: all of its parts, from whichever runs made them, not yet read."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hilight_jax.checkpoints.store import Store, Which, name_report
from hilight_jax.core import trees
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import Tree
from hilight_jax.data.config import ConversationDataConfig, DataConfig
from hilight_jax.evals.encoder_evaluation import default_similarity
from hilight_jax.formats.exporting.lora import merge_lazily
from hilight_jax.models import hilight, video_text
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.lora import COLLECTION
from hilight_jax.models.video_text import DualEncoderConfig
from hilight_jax.runs.provenance import lazy_part, made_by
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.chat_parts import TOKENIZER
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.load_config import read_config


@dataclasses.dataclass(frozen=True)
class ExportedEncoder:
    """CLIP-ViP+: both towers, projections and whatever local heads it has; leaves are numpy or ``LazyArray``.

    Words and patches were compared in training by ``similarity``: ``cosine`` (across clips) or ``dot`` (within a clip).
    """

    config: DualEncoderConfig
    params: Tree
    data: DataConfig
    similarity: Literal["cosine", "dot"] = "cosine"


@dataclasses.dataclass(frozen=True)
class ExportedChat:
    """A chat model.

    Attributes:
      config: Sizes; ``lora`` is None when ``params`` holds no adapter.
      params: Parts by name: vision, frames or visual_projection, token_mining, gemma and perhaps lora; with word tracks
        text, local and word_tracks. Leaves are numpy or ``LazyArray``, layers stacked.
      data: The settings of its conversations.
      tokenizer: Path of its ``tokenizer.model``.
      extra: Of the towers' own runs, what the chat model does not use but the original's files hold, in their trees:
        ``encoder`` (without ``vision``) and ``long_clip`` (without ``frames``); empty where those runs are not there.
    """

    config: HiLightConfig
    params: Tree
    data: ConversationDataConfig
    tokenizer: Path
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class OpenedRun:
    """A run to export: the model of one step, and the figures of the last evaluation in its training, if any.

    ``checks`` are called when all arrays were read: they compare parts of other runs with their fingerprints.
    """

    model: ExportedChat | ExportedEncoder
    checks: Sequence[Callable[[], None]]
    config: ChatTrainConfig | EncoderTrainConfig
    step: int
    metrics: Mapping[str, Any]


def open_run(workdir: Path, which: Which, dtype: str, merge: bool) -> OpenedRun:
    """Finds all parts of the model of a run of ``encoder``, ``align`` or ``tune``; ``merge`` adds LoRA's deltas to it.

    Raises:
      CheckpointError: It is another stage's run, or a part is missing or does not fit.
    """
    config = read_config(workdir)
    if not isinstance(config, (EncoderTrainConfig, ChatTrainConfig)):
        raise CheckpointError(
            f"'{workdir}' is a run of the stage '{config.stage}', which is a part of a model; name a run of encoder, "
            f"align or tune."
        )
    store = Store(workdir / "checkpoints", read_only=True)
    step = store.resolve(which)
    if isinstance(config, EncoderTrainConfig):
        params = store.lazy_params(step)
        _check_fits(workdir, video_text.param_shapes(config.model), params)
        model = ExportedEncoder(config.model, _cast(params, dtype), config.data, default_similarity(config))
        checks = []
    else:
        model, checks = _chat(workdir, config, step, dtype, merge)
    return OpenedRun(model, checks, config, step, _metrics(workdir))


def _chat(
    workdir: Path, run: ChatTrainConfig, step: int, dtype: str, merge: bool
) -> tuple[ExportedChat, list[Callable[[], None]]]:
    config, params, checks = run.model, {}, []
    shapes = hilight.param_shapes(config)
    for part in shapes:
        params[part], check = lazy_part(workdir, part, step)
        checks.append(check)
    _check_fits(workdir, shapes, params)
    tokenizer = workdir / TOKENIZER
    if not tokenizer.is_file():
        raise CheckpointError(f"'{workdir}' has lost its {TOKENIZER}; copy it back from the run that it builds on.")
    if merge and COLLECTION in params:
        params["gemma"] = merge_lazily(params["gemma"], params.pop(COLLECTION)["gemma"], config.lora)
        config = dataclasses.replace(config, lora=None)
    extra = {"encoder": _rest_of_run(workdir, "vision"), "long_clip": _rest_of_run(workdir, "frames")}
    extra = {name: _cast(tree, dtype) for name, tree in extra.items() if tree}
    return ExportedChat(config, _cast(params, dtype), run.data, tokenizer, extra), checks


def _check_fits(workdir: Path, shapes: Tree, params: Tree) -> None:
    if complaints := name_report(shapes, params):
        raise CheckpointError(f"'{workdir}' does not fit its own configuration: {'; '.join(complaints)}.")


def _rest_of_run(workdir: Path, part: str) -> dict[str, Any]:
    """The parameters beside a part in the run of a tower that made it; empty where that run is gone."""
    step: Which | int = "latest"
    if (origin := made_by(workdir, part)) is not None:
        workdir, step = Path(origin.workdir), origin.step
    try:
        store = Store(workdir / "checkpoints", read_only=True)
        params = store.lazy_params(store.resolve(step))
    except CheckpointError:
        return {}
    chat = any(name in params for name in ("token_mining", "gemma"))
    return {} if chat or part not in params else {name: tree for name, tree in params.items() if name != part}


def _cast(tree: Tree, dtype: str) -> dict[str, Any]:
    return trees.map_with_path(lambda _, leaf: leaf.astype(dtype), tree)


def _metrics(workdir: Path) -> dict[str, Any]:
    """The validation metrics of the last evaluation in ``metrics.jsonl``."""
    path = workdir / "metrics.jsonl"
    found: dict[str, Any] = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        found |= {name: value for name, value in json.loads(line).items() if name.startswith("validation/")}
    return found
