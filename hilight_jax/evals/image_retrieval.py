"""Long-CLIP's own figure: which image does a text belong to, among all held-out images."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.clips import Batch
from hilight_jax.data.images import ImageDataConfig, ImageTextLoader
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.data.records import Source
from hilight_jax.evals.retrieval import retrieval_metrics

TEXTS = ("long", "short")


def evaluate_images(
    embed: Callable[[Batch], Mapping[str, np.ndarray]], data: ImageDataConfig, source: Source, batch_size: int
) -> dict[str, Any]:
    """Scores retrieval by long and by short texts; every image counts once, with one text of each kind.

    Args:
      embed: Turns a batch of ``ImageTextLoader`` into embeddings ``image``, ``long`` and ``short`` [B, E].
      data: How records become arrays.
      source: Held-out images.
      batch_size: Images of a batch.

    Returns:
      ``{'images', 'skipped', 'long': M, 'short': M}``, ids of what cannot be used in ``skipped``; M as
      ``retrieval_metrics`` gives it, an image being a video of one frame. Ready for JSON.

    Raises:
      DataError: No image is left to evaluate.
    """
    embeds: dict[str, list[np.ndarray]] = {name: [] for name in ("image", *TEXTS)}
    skipped = []
    with Pipeline(data, source, ImageTextLoader(data, source, seed=0)).eval_batches(batch_size) as batches:
        for batch in batches:
            out = embed(batch)
            for name, rows in embeds.items():
                rows.append(np.asarray(out[name])[batch["valid"]])
            skipped += [source[i].id for i in batch["index"][~batch["valid"] & (batch["index"] >= 0)].tolist()]
    joined = {name: np.concatenate(rows) for name, rows in embeds.items()}
    count = len(joined["image"])
    if not count:
        raise DataError(f"{source.name} has no image that can be evaluated; run 'python -m hilight_jax.check' on it.")
    scores = {name: retrieval_metrics(joined["image"], joined[name], np.arange(count)) for name in TEXTS}
    return {"images": count, "skipped": skipped} | scores


def image_headline(result: Mapping[str, Any], name: str) -> dict[str, float]:
    """The figures to follow during training: text-to-image R@1 and R@5 by long and short texts."""
    return {
        f"{name}/{text}_text_to_image_r{k}": result[text]["plain"]["text_to_video"][f"R@{k}"]
        for text in TEXTS
        for k in (1, 5)
    }
