"""The input of training and evaluation: batches of numpy arrays, each host its own rows of every global batch.

The endless order of clips is a function of the seed alone: every epoch shuffled anew, epochs end to end, cut into
global batches. Batch ``s`` is therefore a function of ``s``, the seed and the batch size; it does not change with
hosts, worker processes or restarts, and nothing but the step needs to be saved. Host ``h`` of ``H`` gets the ``h``-th
run of consecutive rows, so that the global batch is the hosts' rows end to end.

Whole batches, not single clips, travel through grain: a thread decodes straight into its batch's array, and a worker
process hands over few large arrays rather than many small ones.
"""

from collections.abc import Iterator

import grain
from absl import flags

from hilight_jax.core.errors import ConfigError
from hilight_jax.data.clips import Batch, ClipLoader
from hilight_jax.data.config import DataConfig
from hilight_jax.data.records import Source

_EPOCHS = 2**30  # Endless; grain's own endless repetition overflows when it is batched by one and sliced.

__all__ = ["Batches", "DataConfig", "Pipeline"]


class Pipeline:
    """Batches of one source. A batch is a dict of arrays with B rows of this host:

    ``video`` uint8 [B, F, Y, X, C]; ``text_ids`` int32, ``text_mask`` and ``local_mask`` bool, ``token_object`` int32,
    all [B, L]; ``clip_objects`` int32 [B, O]; ``index`` int64, ``valid``, ``replaced`` and ``truncated`` bool, all [B];
    with frame captions also ``frame`` uint8 [B, 1, Y, X, C], ``caption_ids`` and ``caption_mask`` [B, L].
    """  # noqa: D415

    def __init__(self, config: DataConfig, source: Source, seed: int = 0):
        """Joins a source with the config of its arrays and the seed of its order."""
        self.config, self.source, self.seed = config, source, seed
        self._loader = ClipLoader(config, source, seed)

    def batches(self, batch_size: int, start_step: int = 0, host_index: int = 0, host_count: int = 1) -> "Batches":
        """Returns the endless training batches from ``start_step`` on.

        Args:
          batch_size: Rows of the global batch.
          start_step: Number of the first batch; that of the training step that reads it.
          host_index: This host.
          host_count: All hosts; divides ``batch_size``.
        """
        rows = _rows_per_host(batch_size, host_count)
        clips = (
            grain.MapDataset.range(len(self.source)).seed(self.seed).shuffle().repeat(_EPOCHS).map_with_index(_placed)
        )
        batches = clips.batch(rows)[host_index::host_count][start_step:].map(self._loader.train_batch)
        return Batches(self._prefetched(batches), start_step)

    def eval_batches(self, batch_size: int, host_index: int = 0, host_count: int = 1) -> "Batches":
        """Returns every clip once, in order; every host gets the same number of batches.

        Rows that fill up the last batch have ``index`` -1. They, and clips that cannot be used, have ``valid`` False.
        """
        rows = _rows_per_host(batch_size, host_count)
        num_batches = -(-len(self.source) // batch_size)
        clips = grain.MapDataset.range(num_batches * batch_size)
        return Batches(self._prefetched(clips.batch(rows)[host_index::host_count].map(self._loader.eval_batch)))

    def _prefetched(self, batches: grain.MapDataset) -> grain.IterDataset:
        """Adds threads and worker processes, neither of which changes the order."""
        config = self.config
        options = grain.ReadOptions(
            num_threads=min(config.num_threads, config.read_ahead), prefetch_buffer_size=config.read_ahead
        )
        prefetched = batches.to_iter_dataset(options)
        if not config.num_workers:
            return prefetched
        if not flags.FLAGS.is_parsed():  # grain hands absl's flags to its workers.
            flags.FLAGS.mark_as_parsed()
        workers = grain.MultiprocessingOptions(num_workers=config.num_workers, per_worker_buffer_size=1)
        return prefetched.mp_prefetch(workers)


class Batches(Iterator[Batch]):
    """An iterator of batches that knows its step. Close it when done: worker processes may be behind it."""

    def __init__(self, dataset: grain.IterDataset, step: int = 0):
        """Starts reading ``dataset``, whose first batch is number ``step``."""
        self._iterator = iter(dataset)
        self.step = step

    def __next__(self) -> Batch:
        """Returns the next batch."""
        batch = next(self._iterator)
        self.step += 1
        return batch

    def state(self) -> dict[str, int]:
        """Returns where reading goes on: ``pipeline.batches(..., start_step=state["step"])``."""
        return {"step": self.step}

    def close(self) -> None:
        """Stops reading ahead and ends worker processes."""
        self._iterator.close()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _placed(position: int, index: int) -> tuple[int, int]:
    return position, index


def _rows_per_host(batch_size: int, host_count: int) -> int:
    if batch_size < 1 or batch_size % host_count:
        raise ConfigError(f"the global batch of {batch_size} clips does not divide over {host_count} hosts.")
    return batch_size // host_count
