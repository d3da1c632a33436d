"""The stage ``encoder``: CLIP-ViP+ on clips and captions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core import trees
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.host_rows import HostRows
from hilight_jax.core.means import Mean
from hilight_jax.core.mesh import replicated, under_mesh
from hilight_jax.data.clips import MAX_OBJECTS, ClipLoader
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.evals.encoder_evaluation import evaluate_encoder, headline
from hilight_jax.losses import contrastive, local
from hilight_jax.models import video_text
from hilight_jax.models.clip import normalise
from hilight_jax.models.local_heads import init_local_from_projections
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.stage import Stage
from hilight_jax.stages.trained_encoder import TrainedEncoder
from hilight_jax.training.gradient_agreement import flat_figures, gradient_agreement
from hilight_jax.training.steps import Objective

# The logit scales, global and local, are clamped before each use, as CLIP-ViP clamps its own before each forward pass.
SCALES = (r"logit_scale", r"local/scale")


class EncoderObjective(Objective):
    """CLIP-ViP+: one global contrastive loss and the local loss of the configured setting."""

    partition_rules = video_text.PARTITION_RULES

    def __init__(self, config: EncoderTrainConfig, mesh: Mesh):
        """Builds the model of ``config``; its losses run under ``shard_map`` over ``mesh``."""
        self.config, self.mesh = config, mesh
        self.model = video_text.DualEncoder(config.model)
        self.has_local = config.loss.local.contrast != "none"
        self.level_weights = config.model.level_weights if self.has_local else ()
        shares = local.term_weights(config.loss.local) if self.has_local else {}
        local_weights = {name: config.loss.local_weight * share for name, share in shares.items()}
        self.weights = {config.loss.contrast: 1.0} | local_weights
        if config.loss.local.across_clips:  # The clips of a group contrast with each other.
            self.block_size = config.loss.local.group_size

    def init_params(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters."""
        batch = {name: jnp.asarray(x) for name, x in self.example_batch(1).items()}
        params = self.model.init(key, normalise(batch["video"]), batch["text_ids"], batch["text_mask"])["params"]
        return self.finish_init(params)

    def finish_init(self, params: dict[str, Any]) -> dict[str, Any]:
        """Lets local heads start as copies of CLIP's projections, where shapes allow, and ``config.zero`` from zero."""
        for pattern in self.config.zero:
            if not any(trees.matches(path, [pattern]) for path in trees.flatten(params)):
                raise ConfigError(f"config.zero: '{pattern}' matches no parameter.")

        def first(path: str, leaf: jax.Array) -> jax.Array:
            return jnp.zeros_like(leaf) if trees.matches(path, self.config.zero) else leaf

        return trees.map_with_path(first, init_local_from_projections(params))

    def loss_terms(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, Mean]:
        """The named losses of one batch, each a sum and a count."""

        def run(method: str, *arrays: jax.Array) -> Any:
            return self.model.apply({"params": params}, *arrays, method=method)

        out = run("__call__", normalise(batch["video"]), batch["text_ids"], batch["text_mask"])
        contrast = self.config.loss.contrast
        embeds = {"video": out["video_embeds"], "text": out["text_embeds"]}
        if contrast == "nce_vsc_fc":
            caption = run("encode_text", batch["caption_ids"], batch["caption_mask"])["text_embeds"]
            frame = run("encode_video", normalise(batch["frame"]))["video_embeds"]
            embeds = {"video": embeds["video"], "subtitle": embeds["text"], "caption": caption, "frame": frame}
        swaps = None
        if self.config.data.swaps:  # Padding need not be hidden, since a text is pooled at its end.
            ids = batch["swap_ids"]
            false = run("encode_text", ids.reshape(-1, ids.shape[2]))["text_embeds"]
            swaps = false.reshape(*ids.shape[:2], -1), batch["swap_mask"]
        per_row, chunk = contrastive.LOSSES[contrast], self.config.loss.contrast_chunk
        terms = {contrast: contrastive.contrastive_loss(per_row, embeds, out["logit_scale"], self.mesh, chunk, swaps)}
        if self.has_local:
            terms |= local.local_loss(
                self.config.loss.local,
                out["video_local"],
                out["text_local"],
                self.level_weights,
                batch,
                out["local_scale"],
                self.mesh,
            )
        return terms

    def loss_counts(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The counts of ``loss_terms``, which depend on masks alone."""
        counts = {self.config.loss.contrast: jnp.asarray(batch["text_ids"].shape[0], jnp.float32)}
        if self.has_local:
            counts |= local.local_counts(self.config.loss.local, batch)
        return counts

    def clamp(self, params: dict[str, Any]) -> dict[str, Any]:
        """Projects the logit scales into their range."""

        def project(path: str, leaf: jax.Array) -> jax.Array:
            return contrastive.clamp_log_scale(leaf) if trees.matches(path, SCALES) else leaf

        return trees.map_with_path(project, params)

    def example_batch(self, batch_size: int) -> dict[str, np.ndarray]:
        """A batch of the right shapes and dtypes, made of nothing: black clips with the caption of two tokens."""
        data, vision = self.config.data, self.config.model.vision
        size, length = vision.image_size, data.text_length
        video = np.zeros((batch_size, data.num_frames, size, size, 3), np.uint8)
        ids = np.zeros((batch_size, length), np.int32)
        ids[:, :2] = self.config.model.text.vocab_size - 2, self.config.model.text.vocab_size - 1
        batch = {
            "video": video,
            "text_ids": ids,
            "text_mask": ids > 0,
            "local_mask": ids > 0,
            "token_object": np.zeros_like(ids),
            "clip_objects": np.zeros((batch_size, MAX_OBJECTS), np.int32),
        }
        if data.frame_captions:
            batch |= {"frame": video[:, :1], "caption_ids": ids, "caption_mask": ids > 0}
        if data.swaps:
            false = np.repeat(ids[:, None], data.swaps, axis=1)
            batch |= {"swap_ids": false, "swap_mask": np.ones(false.shape[:2], bool)}
        return batch


class EncoderStage(Stage):
    """Trains on clips and captions."""

    loader = ClipLoader

    def __init__(self, config: EncoderTrainConfig, mesh: Mesh, workdir: Path):
        """Builds the objective; nothing is read yet."""
        objective = EncoderObjective(config, mesh)
        super().__init__(config, mesh, objective)
        self._encoder = TrainedEncoder(config, mesh=mesh)
        agree = gradient_agreement(objective, objective.weights.keys() - {config.loss.contrast})
        self._agree = jax.jit(under_mesh(mesh, agree), out_shardings=replicated(mesh))

    def validate(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Retrieval and grounding on the validation clips, and how the losses agree, if that is wanted."""
        self._encoder.params = params
        figures = headline(evaluate_encoder(self._encoder, self.validation, with_phrases=False), "validation")
        return figures | (self._gradient_agreement(params) if self.config.compare_gradients else {})

    def _gradient_agreement(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Compares the gradients of both losses on a batch of validation clips, the same at every seed and step."""
        rows = HostRows(self.mesh, self.config.batch_size)
        pipeline = Pipeline(self.data, self.validation, self.loader(self.data, self.validation, 0), 0)
        with pipeline.batches(self.config.batch_size, 0, rows.numbers) as batches:
            batch = next(batches)
        wanted = self.objective.example_batch(1)
        return flat_figures(self._agree(params, {name: rows.place(batch[name]) for name in wanted}))
