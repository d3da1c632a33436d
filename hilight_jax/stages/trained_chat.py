"""A trained chat model: put together from the runs that made its parts, evaluated, shown on its report page."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from hilight_jax.checkpoints.store import Which, name_report
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import CheckpointError, DataError, UserError
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.sources import open_conversations
from hilight_jax.data.sources import is_missing
from hilight_jax.evals.evidence_evaluation import evaluate_evidence
from hilight_jax.evals.evidence_table import evidence_table
from hilight_jax.evals.example_clips import asked_clips
from hilight_jax.evals.known_answers import KnownAnswers, count_answers
from hilight_jax.evals.result_tables import answer_tables, asked_table
from hilight_jax.evals.video_qa import Asked, ask_about_one_clip, evaluate_video_qa
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.models.hilight import param_shapes
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.pages.chat_report import write_chat_report
from hilight_jax.pages.report import checkpoint, read_evaluations
from hilight_jax.runs.provenance import Origin, load_part
from hilight_jax.runs.workdir import read_config_as, read_stage
from hilight_jax.stages.chat_config import CHAT_STAGES, ChatTrainConfig
from hilight_jax.stages.chat_parts import TOKENIZER
from hilight_jax.stages.stage import EvaluationOptions, PageRequest
from hilight_jax.training.metrics import read_metrics


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
      confidence_temperature: As the run's evaluation of this step fitted it; None before one.
    """

    config: HiLightConfig
    params: dict[str, Any]
    data: ConversationDataConfig
    tokenizer: Path
    origins: dict[str, Origin]
    run: ChatTrainConfig
    step: int
    confidence_temperature: float | None = None


def load_chat_model(workdir: str | Path, which: Which = "latest") -> ChatModel:
    """Loads the best or the latest checkpoint of a run of ``align`` or ``tune`` with all that it builds on.

    Raises:
      CheckpointError: ``workdir`` is of another stage or damaged, or a part is gone or does not fit.
    """
    workdir = Path(workdir)
    if (stage := read_stage(workdir)) not in CHAT_STAGES:
        raise CheckpointError(
            f"'{workdir}' is a run of the stage '{stage}', which cannot chat; name a run of align or tune."
        )
    run = read_config_as(ChatTrainConfig, workdir)
    shapes = param_shapes(run.model)
    params, origins = {}, {}
    for part in shapes:
        tree, origins[part] = load_part(workdir, part, which)
        params[part] = _move_to_device(tree)
    if complaints := name_report(shapes, params):
        raise CheckpointError(f"'{workdir}' does not fit its own configuration: {'; '.join(complaints)}.")
    tokenizer = workdir / TOKENIZER
    if not tokenizer.is_file():
        raise CheckpointError(f"'{workdir}' has lost its {TOKENIZER}; copy it back from the run that it builds on.")
    step = next(origin.step for origin in origins.values() if Path(origin.workdir) == workdir.resolve())
    temperature = fitted_temperature(workdir, step)
    return ChatModel(run.model, params, run.data, tokenizer, origins, run, step, temperature)


def fitted_temperature(workdir: Path, step: int) -> float | None:
    """Returns the temperature that an evaluation of a checkpoint fitted; None where none has.

    Of several evaluations that of the validation source counts, or else the first by name, but none with less than half
    the questions of the largest: a few answers fit any temperature.
    """
    results = (result for result in read_evaluations(workdir) if result.get("step") == step)
    found = [calibration for result in results if (calibration := result.get("calibration"))]
    sizes = [calibration.get("measured_on", {}).get("questions", 0) for calibration in found]
    enough = max(sizes, default=0) / 2
    pairs = zip(found, sizes, strict=True)
    return next((calibration["temperature"] for calibration, size in pairs if size >= enough), None)


def make_generator(model: ChatModel) -> Generator:
    """The generator of a loaded chat model."""
    tokenizer, data = GemmaTokenizer(model.tokenizer), model.data
    temperature = model.confidence_temperature or 1.0
    return Generator(model.config, model.params, tokenizer, data.max_length, temperature, things=data.things)


def result_tables(result: Mapping[str, Any]) -> str:
    """An evaluation's answers, and its evidence if that was measured, as text."""
    tables = [answer_tables(result)]
    if evidence := result.get("evidence"):
        tables.append(evidence_table(evidence))
    return "\n".join(tables)


class ChatEvaluator:
    """Answers of a chat model's checkpoint to the questions of conversations; see ``Evaluator``."""

    kind = "a chat model"
    options = frozenset({"per_kind", "history", "no_controls", "max_new_tokens", "ask", "evidence"})
    table = staticmethod(result_tables)

    def __init__(self, workdir: Path, which: Which):
        """Loads the checkpoint and all that it builds on."""
        model = load_chat_model(workdir, which)
        self.config, self.step = model.run, model.step
        self._data = dataclasses.replace(model.data, tokenizer=str(model.tokenizer))
        self._generator = make_generator(model)

    def evaluate(self, specification: str, options: EvaluationOptions) -> dict[str, Any]:
        """Asks every question of a source; ``answers`` holds the answers one by one."""
        source = open_conversations(specification)
        asked = self._generator, _sampling(options), source, self._data
        shared = {
            "history": options.history,
            "batch_size": options.batch_size or self.config.eval_batch_size,
            "num_conversations": options.num_clips,
            "show_progress": True,
        }
        evidence = None
        if options.evidence is not None:  # First, as it refuses a source without known balls before it asks anything.
            evidence = evaluate_evidence(*asked, options.evidence, **shared)
        result = evaluate_video_qa(
            *asked, self._known_answers, controls=options.controls, questions_per_kind=options.per_kind, **shared
        )
        return result if evidence is None else result | {"evidence": evidence}

    def ask(self, specification: str, options: EvaluationOptions) -> tuple[list[Asked], str]:
        """Asks ``options.ask`` questions about one clip; returns the answers, and as text."""
        asked = ask_about_one_clip(
            self._generator, _sampling(options), open_conversations(specification), self._data, options.ask
        )
        if len(asked) < options.ask:
            log(f"--ask is {options.ask}, but no clip has more than {len(asked)} questions.")
        return asked, asked_table(asked)

    @functools.cached_property
    def _known_answers(self) -> KnownAnswers | None:
        """The answers of the training source; None, with a line on stderr, where it is gone."""
        try:
            return count_answers(open_conversations(self._data.train), show_progress=True)
        except DataError as error:
            log(f"the training answers cannot be counted ({error}), so the controls are weaker.")
            return None


def _sampling(options: EvaluationOptions) -> SamplingConfig:
    return SamplingConfig(max_new_tokens=options.max_new_tokens or 64)


def write_chat_page(workdir: Path, request: PageRequest) -> tuple[Path, int]:
    """Shows clips with the answers that an evaluation wrote; returns the page and the number of conversations.

    Evaluations of a packed model have no answers one by one, so its page shows no clips.
    """
    examples, drawn_from = [], ""
    results = read_evaluations(workdir)
    result = next((each for each in results if request.data in (None, each["source"])), None)
    if request.data and result is None:
        raise UserError(f"'{workdir}' has no evaluation of {request.data}; run 'python -m hilight_jax.evaluate' first.")
    if result and "answers_file" in result and (request.data or not is_missing(result["source"])):
        data = read_config_as(ChatTrainConfig, workdir).data
        data = dataclasses.replace(data, tokenizer=str(workdir / TOKENIZER))
        answers = workdir / "evaluations" / result["answers_file"]
        examples = asked_clips(answers, open_conversations(result["source"]), data, request.num_clips)
        drawn_from = checkpoint(result)
    page = write_chat_report(workdir, read_metrics(workdir), examples, drawn_from, request.overrides)
    return page, len(examples)


def _move_to_device(tree: dict[str, Any]) -> dict[str, Any]:
    """Puts a tree's arrays on the device, each in the place of its copy on the host: 11 GB are never there twice."""
    for name, value in tree.items():
        tree[name] = _move_to_device(value) if isinstance(value, dict) else jax.device_put(value)
    return tree
