"""A trained chat model, put together from all the runs that made its parts."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax

from hilight_jax.checkpoints.store import name_report
from hilight_jax.core.errors import CheckpointError
from hilight_jax.data.conversations.config import ConversationDataConfig
from hilight_jax.models.hilight import HiLightConfig, param_shapes
from hilight_jax.runs.provenance import Origin, load_part
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.load_config import read_config


@dataclasses.dataclass(frozen=True)
class ChatModel:
    """All parts of a chat model.

    Attributes:
      config: Sizes of its parts.
      params: vision, frames, token_mining, gemma and, if it was tuned so, lora; on the default device.
      data: How its conversations were made.
      tokenizer: Path of its ``tokenizer.model``.
      origins: The run and step of every part.
      run: The whole configuration of the run.
      step: Of the run itself.
    """

    config: HiLightConfig
    params: dict[str, Any]
    data: ConversationDataConfig
    tokenizer: Path
    origins: dict[str, Origin]
    run: ChatTrainConfig
    step: int


def load_chat_model(workdir: str | Path, which: Literal["best", "latest"] = "latest") -> ChatModel:
    """Loads the best or the latest checkpoint of a run of ``align`` or ``tune`` with all that it builds on.

    Raises:
      CheckpointError: ``workdir`` is of another stage or damaged, or a part is gone or does not fit.
    """
    workdir = Path(workdir)
    run = read_config(workdir)
    if not isinstance(run, ChatTrainConfig):
        raise CheckpointError(
            f"'{workdir}' is a run of the stage '{run.stage}', which cannot chat; name a run of align or tune."
        )
    shapes = param_shapes(run.model)
    params, origins = {}, {}
    for part in shapes:
        tree, origins[part] = load_part(workdir, part, which)
        params[part] = _move_to_device(tree)
    if complaints := name_report(shapes, params):
        raise CheckpointError(f"'{workdir}' does not fit its own configuration: {'; '.join(complaints)}.")
    tokenizer = workdir / "tokenizer.model"
    if not tokenizer.is_file():
        raise CheckpointError(f"'{workdir}' has lost its tokenizer.model; copy it back from the run that it builds on.")
    step = next(origin.step for origin in origins.values() if Path(origin.workdir) == workdir.resolve())
    return ChatModel(run.model, params, run.data, tokenizer, origins, run, step)


def _move_to_device(tree: dict[str, Any]) -> dict[str, Any]:
    """Puts a tree's arrays on the device, each in the place of its copy on the host: 11 GB are never there twice."""
    for name, value in tree.items():
        tree[name] = _move_to_device(value) if isinstance(value, dict) else jax.device_put(value)
    return tree
