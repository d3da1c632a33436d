"""A run of the real loop and store on a model of one number: seconds matter nowhere, every step takes microseconds."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hilight_jax.checkpoints.store import KeepConfig, Store
from hilight_jax.core.means import Mean
from hilight_jax.stages.start import start
from hilight_jax.training import loop
from hilight_jax.training.optimizer import OptimizerConfig
from hilight_jax.training.run_config import RunConfig
from hilight_jax.training.steps import Objective, TrainState, create, make_train_step


class Line(Objective):
    weights = {"line": 1.0}

    def loss_terms(self, params, batch):
        return {"line": Mean((params["w"] * batch["x"]).sum(), jnp.float32(batch["x"].size))}

    def loss_counts(self, batch):
        return {"line": jnp.float32(batch["x"].size)}


class ToyTrainer:
    """What the loop asks of a trainer; the loss of a batch is ``w`` times its mean."""

    def __init__(self, **keys):
        keys = {"steps": 8, "log_every": 1, "eval_every": 8, "keep": KeepConfig(every=3, best_metric="")} | keys
        self.config = RunConfig(name="toy", preset="", batch_size=2, optimizer=OptimizerConfig(), **keys)
        self._optimizer = optax.adam(0.1)
        skip = self.config.max_skipped_steps > 0
        step = make_train_step(Line(), self._optimizer, skip=skip)
        self.train_step = jax.jit(step, donate_argnums=0)

    def init_state(self) -> TrainState:
        return create({"w": jnp.float32(1.0)}, (), self._optimizer)

    def put_batch(self, batch):
        return jax.tree.map(jnp.asarray, batch)

    def save(self, store, state, metrics):
        step = int(state.step)
        store.save(step, state.trained, state.optimizer, {"step": step}, {}, metrics)

    def restore(self, store, step):
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
            ),
            self.init_state(),
        )
        return TrainState(
            step=jnp.int32(step),
            trained=store.restore_params(step, like.trained),
            frozen={},
            optimizer=store.restore_optimizer(step, like.optimizer),
        )


def batches(start: int, bad: tuple[int, ...] = ()):
    """Batch ``i`` is that of step ``i + 1``; those of the steps ``bad`` hold a number that is none."""
    while True:
        start += 1
        x = np.random.default_rng(start).normal(size=2).astype(np.float32)
        yield {"x": x * np.nan if start in bad else x}


def train(workdir: Path, trainer: ToyTrainer, bad: tuple[int, ...] = (), **options) -> TrainState:
    """Starts, or goes on from the newest checkpoint."""
    workdir.mkdir(exist_ok=True)
    store = Store(workdir / "checkpoints", trainer.config.keep)
    try:
        state = start(trainer.config, trainer, store)
        return loop.run(trainer, state, batches(int(state.step), bad), store, workdir, loop.Hooks(**options))
    finally:
        store.close()
