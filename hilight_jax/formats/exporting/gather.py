"""From a working directory to what an exporter takes: all parts of a model, from whichever runs made them, unread."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hilight_jax.checkpoints.store import Store, Which, name_report
from hilight_jax.core import trees
from hilight_jax.core.errors import CheckpointError
from hilight_jax.evals.encoder_evaluation import default_similarity
from hilight_jax.formats.exporting.exportable import ExportedChat, ExportedEncoder
from hilight_jax.formats.exporting.lora_merging import merge_lazily
from hilight_jax.models import hilight, video_text
from hilight_jax.models.lora import COLLECTION
from hilight_jax.runs.provenance import lazy_part, read_provenance
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.chat_tokenizer import TOKENIZER
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.load_config import read_config


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


def _encoder(workdir: Path, run: EncoderTrainConfig, which: Which, dtype: str) -> ExportedEncoder:
    store = Store(workdir / "checkpoints", read_only=True)
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
        params = store.lazy_params(store.resolve(step))
    except CheckpointError:
        return {}
    chat = any(name in params for name in ("token_mining", "gemma"))
    return {} if chat or part not in params else {name: tree for name, tree in params.items() if name != part}


def _cast(tree: trees.Tree, dtype: str) -> dict[str, Any]:
    return trees.map_with_path(lambda _, leaf: leaf.astype(dtype), tree)


def _step(workdir: Path, which: Which) -> int:
    return Store(workdir / "checkpoints", read_only=True).resolve(which)


def _metrics(workdir: Path) -> dict[str, Any]:
    """The last evaluation inside the training: what ``metrics.jsonl`` says of validation data."""
    path = workdir / "metrics.jsonl"
    found: dict[str, Any] = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        found |= {name: value for name, value in json.loads(line).items() if name.startswith("validation/")}
    return found
