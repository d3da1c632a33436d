"""A trained encoder: loaded, and drawn on its report page."""

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hilight_jax.checkpoints.store import Store, Which, name_report
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.host_rows import on_mesh
from hilight_jax.core.mesh import make_mesh, replicated
from hilight_jax.data.sources import is_missing, open_source
from hilight_jax.evals.example_clips import held_out
from hilight_jax.models import video_text
from hilight_jax.models.clip import normalise
from hilight_jax.pages.encoder_report import write_report
from hilight_jax.pages.report import read_result
from hilight_jax.runs.workdir import read_config_as, read_stage
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.stage import PageRequest
from hilight_jax.training.metrics import read_metrics


class TrainedEncoder:
    """A dual encoder with its parameters; arrays in, numpy arrays out."""

    def __init__(
        self,
        config: EncoderTrainConfig,
        params: Mapping[str, Any] | None = None,
        step: int | None = None,
        mesh: Mesh | None = None,
    ):
        """Wraps the parameters of ``step``, which may be set and replaced later; each input shape is compiled once.

        They are on one device, or on ``mesh``, where batches go too; all processes must then ask for the same at the
        same time.
        """
        self.config, self.params, self.step = config, params, step
        model = video_text.DualEncoder(config.model)
        compiled = jax.jit if mesh is None else functools.partial(on_mesh, mesh)
        self._video = compiled(lambda p, x: _grounding(model.apply({"params": p}, normalise(x), method="encode_video")))
        self._embed = compiled(lambda p, x: _unit(model.apply({"params": p}, normalise(x), method="encode_video")))
        self._text = compiled(
            lambda p, ids, mask: _grounding(model.apply({"params": p}, ids, mask, method="encode_text"))
        )

    def encode_video(self, video: np.ndarray) -> dict[str, Any]:
        """Embeds uint8 (or float in 0..255) clips ``[B, F, Y, X, C]``; see ``DualEncoder.encode_video``."""
        return jax.device_get(self._video(self.params, video))

    def embed_video(self, video: np.ndarray) -> np.ndarray:
        """Embeds uint8 clips ``[B, F, Y, X, C]`` as unit vectors ``[B, E]``, without their local features."""
        return jax.device_get(self._embed(self.params, video))

    def encode_text(self, text_ids: np.ndarray, text_mask: np.ndarray) -> dict[str, Any]:
        """Embeds captions ``[B, L]``; see ``DualEncoder.encode_text``."""
        return jax.device_get(self._text(self.params, text_ids, text_mask))

    @property
    def level_weights(self) -> tuple[float, ...]:
        """Weights of the tapped levels in a word's map over the patches, see ``DualEncoderConfig``."""
        return self.config.model.map_weights


def load_encoder(workdir: str | Path, which: Which | int = "latest") -> TrainedEncoder:
    """Loads the best or the latest checkpoint of a run, or the one of a step.

    Raises:
      CheckpointError: ``workdir`` holds no run of the encoder.
    """
    if (stage := read_stage(workdir)) != "encoder":
        raise CheckpointError(
            f"'{workdir}' is a run of the stage '{stage}' and holds no text tower, so it cannot embed; name a run of "
            f"the encoder."
        )
    config = read_config_as(EncoderTrainConfig, workdir)
    with contextlib.closing(Store(Path(workdir) / "checkpoints", read_only=True)) as store:
        step = store.resolve(which)
        complaints = name_report(video_text.param_shapes(config.model), store.param_shapes(step))
        if complaints:
            raise CheckpointError(
                f"step {step} of '{workdir}' does not fit its own configuration: {'; '.join(complaints)}."
            )
        return TrainedEncoder(config, store.restore_params(step), step)


def on_local_devices(encoder: TrainedEncoder) -> TrainedEncoder:
    """Returns the encoder on all devices of this host, batches split over them; other hosts take no part."""
    if jax.local_device_count() == 1:
        return encoder
    mesh = make_mesh(devices=jax.local_devices())
    params = jax.device_put(encoder.params, replicated(mesh))
    return TrainedEncoder(encoder.config, params, encoder.step, mesh)


def write_encoder_page(workdir: Path, request: PageRequest) -> tuple[Path, int]:
    """Draws the word maps of example clips; returns the page and the number of clips on it."""
    encoder = load_encoder(workdir, request.which)
    specification = request.data or encoder.config.data.validation
    examples = []
    if specification and (request.data or not is_missing(specification)):
        examples = held_out(encoder, open_source(specification), request.num_clips)
    page = write_report(
        workdir,
        read_metrics(workdir),
        examples,
        controls=next((table for path in request.controls if (table := read_result(path))), None),
        drawn_from=f"step {encoder.step}, {request.which}",
        overrides=request.overrides,
    )
    return page, len(examples)


def _unit(out: Any) -> jax.Array:
    """Returns the video embeddings, of length 1."""
    embeds = out["video_embeds"].astype(jnp.float32)
    return embeds / jnp.linalg.norm(embeds, axis=-1, keepdims=True)


def _grounding(out: dict[str, Any]) -> dict[str, Any]:
    """Keeps what leaves the device: the embeddings and the local features."""
    return {name: value for name, value in out.items() if name.endswith(("_embeds", "_local"))}
