"""The stage ``long_clip``: Long-CLIP on frames with long and short texts."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.config import check_same
from hilight_jax.core.host_rows import on_mesh
from hilight_jax.core.means import Mean
from hilight_jax.data.clips import ImageTextLoader
from hilight_jax.data.config import ImageDataConfig
from hilight_jax.evals.retrieval import RECALLS, retrieval_metrics
from hilight_jax.losses.long_short_contrast import LongClipLossConfig, long_clip_loss
from hilight_jax.models import long_clip
from hilight_jax.models.clip import normalise
from hilight_jax.stages.stage import Stage, check_texts
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.steps import Objective

_READ = ("image", "long_ids", "short_ids")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongClipTrainConfig(RunConfig):
    """A training run of Long-CLIP."""

    stage: Literal["long_clip"] = "long_clip"
    model: long_clip.LongClipConfig
    loss: LongClipLossConfig
    data: ImageDataConfig

    def __post_init__(self):
        """Checks keys against each other."""
        super().__post_init__()
        check_same(self, "config.", "data.image_size", "model.frames.image_size")
        check_texts(self)


class LongClipObjective(Objective):
    """Images match long texts, and their principal components short ones; the logit scale is not clamped."""

    partition_rules = long_clip.PARTITION_RULES

    def __init__(self, config: LongClipTrainConfig, mesh: Mesh):
        """Builds the model of ``config``; principal components are taken under ``shard_map`` over ``mesh``."""
        self.config, self.mesh = config, mesh
        self.model = long_clip.LongClip(config.model)
        self.weights = {"long": 1.0, "short": config.loss.short_weight}
        self.block_size = config.loss.group_size

    def init_params(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters."""
        batch = {name: jnp.asarray(x) for name, x in self.example_batch(1).items()}
        return self.finish_init(self.model.init(key, normalise(batch["image"]), batch["long_ids"])["params"])

    def finish_init(self, params: dict[str, Any]) -> dict[str, Any]:
        """Lets both position tables start equal, as the original does."""
        text = params["text"]
        return params | {"text": text | {"position_embedding_res": text["position_embedding"]}}

    def loss_terms(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, Mean]:
        """The losses ``long`` and ``short`` of one batch, each a sum and a count."""
        embeds = self.embed(params, batch)
        return long_clip_loss(
            self.config.loss, embeds["image"], embeds["long"], embeds["short"], params["logit_scale"], self.mesh
        )

    def loss_counts(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The counts of ``loss_terms``: every pair counts once."""
        size = jnp.asarray(batch["image"].shape[0], jnp.float32)
        return {"long": size, "short": size}

    def embed(self, params: Any, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The embeddings ``image``, ``long`` and ``short`` [B, E] of a batch, not normalised."""

        def encode(method: str, x: jax.Array) -> jax.Array:
            return self.model.apply({"params": params}, x, method=method)

        texts = {name: encode("encode_text", batch[f"{name}_ids"]) for name in ("long", "short")}
        return {"image": encode("encode_image", normalise(batch["image"]))} | texts

    def example_batch(self, batch_size: int) -> dict[str, np.ndarray]:
        """A batch of the right shapes and dtypes, made of nothing: black images with texts of two tokens."""
        side, length = self.config.data.image_size, self.config.data.text_length
        ids = np.zeros((batch_size, length), np.int32)
        ids[:, :2] = self.config.model.text.vocab_size - 2, self.config.model.text.vocab_size - 1
        return {"image": np.zeros((batch_size, side, side, 3), np.uint8), "long_ids": ids, "short_ids": ids}


class LongClipStage(Stage):
    """Trains on images and texts."""

    loader = ImageTextLoader

    def __init__(self, config: LongClipTrainConfig, mesh: Mesh, workdir: Path):
        """Builds the objective; nothing is read yet."""
        objective = LongClipObjective(config, mesh)
        super().__init__(config, mesh, objective)
        self._embed = on_mesh(mesh, objective.embed)

    def validate(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Retrieval of validation images by their long texts, and the reverse."""
        found: dict[str, list[np.ndarray]] = {"image": [], "long": []}
        with self.pipeline(self.validation).eval_batches(self.config.eval_batch_size) as batches:
            for batch in batches:
                embeds = self._embed(params, {name: batch[name] for name in _READ})
                for name, parts in found.items():
                    parts.append(embeds[name][batch["valid"]])
        images, texts = (np.concatenate(parts) for parts in found.values())
        ranks = retrieval_metrics(images, texts, np.arange(len(texts)))["plain"]
        named = {"text_to_video": "long_text_to_image", "video_to_text": "image_to_long_text"}
        return {f"validation/{named[way]}_r{k}": figures[f"R@{k}"] for way, figures in ranks.items() for k in RECALLS}
