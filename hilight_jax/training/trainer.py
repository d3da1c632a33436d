"""An objective on a mesh: shapes, shardings, the jitted step and the checkpoints of its state."""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hilight_jax.checkpoints.store import Store, name_report
from hilight_jax.core import trees
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.core.host_rows import HostRows
from hilight_jax.core.mesh import batch_sharding, batch_shards, replicated, under_mesh
from hilight_jax.core.sharding import like, shardings
from hilight_jax.training.optimizer import make_optimizer
from hilight_jax.training.run_config import InitFrom, RunConfig
from hilight_jax.training.steps import Objective, TrainState, create, make_train_step


class Trainer:
    """Owns the compiled step of one objective on one mesh."""

    def __init__(self, config: RunConfig, objective: Objective, mesh: Mesh, given: Mapping[str, Any] | None = None):
        """Derives all shapes and shardings; nothing is computed yet.

        ``given`` are parameters, numpy arrays by name, that other runs made: training starts from them, and does not
        save those again that it leaves as they are.

        Raises:
          ConfigError: The batch does not divide over the mesh, a parameter matches no rule, or a pattern of
            ``freeze`` matches nothing.
          CheckpointError: ``given`` does not fit the model.
        """
        self.config, self.objective, self.mesh = config, objective, mesh
        block = objective.block_size
        pieces = batch_shards(mesh) * config.accumulate * block
        if config.batch_size % pieces:
            cuts = f" x {config.accumulate} micro-batches" if config.accumulate > 1 else ""
            cuts += f" x groups of {block} examples (the loss's group_size)" if block > 1 else ""
            raise ConfigError(
                f"config.batch_size={config.batch_size} does not divide over {batch_shards(mesh)} batch shards{cuts}; "
                f"choose a multiple of {pieces}."
            )
        self._optimizer = make_optimizer(config.optimizer, config.steps)
        self.state_shapes: TrainState = jax.eval_shape(self._fresh_state)
        params = self.state_shapes.params
        self._given = trees.flatten(given or {})
        replaced = {name: tree for name, tree in params.items() if name in (given or {})}
        if complaints := name_report(replaced, given or {}):
            raise CheckpointError(f"the parts that this run builds on do not fit its model: {'; '.join(complaints)}.")
        _check_patterns("freeze", config.freeze, params)
        _check_patterns("optimizer.multipliers", config.optimizer.multipliers, params)
        if not self.state_shapes.trained:
            raise ConfigError(f"config.freeze={list(config.freeze)} matches every parameter, so nothing is trained.")
        self._batch_names = tuple(objective.example_batch(1))
        placed = shardings(params, objective.partition_rules, mesh)
        self._shapes, self._placed = trees.flatten(params), trees.flatten(placed)
        frozen, trained = trees.split(placed, config.freeze)
        self.state_shardings = TrainState(
            step=replicated(mesh),
            trained=trained,
            frozen=frozen,
            optimizer=like(self.state_shapes.optimizer, self.state_shapes.trained, trained, mesh),
        )
        step = make_train_step(
            objective,
            self._optimizer,
            constrain=lambda gradients: jax.lax.with_sharding_constraint(gradients, trained),
            accumulate=config.accumulate,
            skip=config.max_skipped_steps > 0,
        )
        self.train_step = jax.jit(
            under_mesh(mesh, step),
            in_shardings=(self.state_shardings, batch_sharding(mesh)),
            out_shardings=(self.state_shardings, replicated(mesh)),
            donate_argnums=0,
        )

    def init_state(self) -> TrainState:
        """Given parameters, fresh ones for the rest, and a fresh optimiser, in place on the mesh."""
        shardings = self.state_shardings

        def fresh() -> tuple[dict[str, Any], Any]:
            state = self._fresh_state()
            params = {path: x for path, x in trees.flatten(state.params).items() if path not in self._given}
            return params, (state.step, state.optimizer)

        places = {path: x for path, x in self._placed.items() if path not in self._given}
        made, (step, optimizer) = jax.jit(fresh, out_shardings=(places, (shardings.step, shardings.optimizer)))()
        given = {path: self._place(path, value) for path, value in self._given.items()}
        params = trees.unflatten({path: made[path] if path in made else given[path] for path in self._placed})
        frozen, trained = trees.split(params, self.config.freeze)
        return TrainState(step=step, trained=trained, frozen=frozen, optimizer=optimizer)

    @functools.cached_property
    def rows(self) -> HostRows:
        """The rows of every global batch that are this host's."""
        return HostRows(self.mesh, self.config.batch_size)

    def put_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Places this host's rows of a global batch; only what the loss reads travels."""
        return {name: self.rows.place(batch[name]) for name in self._batch_names}

    def example_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of one global batch, for compiling without data."""
        sharding, size = batch_sharding(self.mesh), self.config.batch_size
        return {
            name: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype, sharding=sharding)
            for name, x in self.objective.example_batch(1).items()
        }

    def save(self, store: Store, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Saves a state as the checkpoint of its step."""
        step = int(state.step)
        position = {"step": step, "examples": step * self.config.batch_size, "seed": self.config.seed}
        made_here = {path: x for path, x in trees.flatten(state.frozen).items() if path not in self._given}
        params = trees.merge(trees.unflatten(made_here), state.trained)
        store.save(step, params, state.optimizer, position, to_dict(self.config), metrics)

    def restore(self, store: Store, step: int) -> TrainState:
        """Restores a whole state onto this mesh, whatever mesh it was saved from."""
        targets = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), self.state_shapes, self.state_shardings
        )
        wanted, frozen = trees.flatten(targets.params), trees.flatten(targets.frozen)
        elsewhere = {path: self._place(path, self._given[path]) for path in frozen if path in self._given}
        saved = {path: x for path, x in wanted.items() if path not in elsewhere}
        params = trees.merge(store.restore_params(step, trees.unflatten(saved)), trees.unflatten(elsewhere))
        frozen, trained = trees.split(params, self.config.freeze)
        return TrainState(
            step=_put(np.int32(store.position(step)["step"]), self.state_shardings.step),
            trained=trained,
            frozen=frozen,
            optimizer=store.restore_optimizer(step, targets.optimizer),
        )

    def init_from(self, source: InitFrom) -> TrainState:
        """A fresh state with the parameters of another run.

        Raises:
          CheckpointError: A name is missing, left over or of another shape; all such names are listed.
        """
        try:
            store = Store(Path(source.workdir) / "checkpoints", read_only=True)
            step = store.resolve(source.which)
        except CheckpointError as error:
            raise CheckpointError(f"config.init_from.workdir: {error}") from error
        shapes = trees.flatten(self.state_shapes.params)
        wanted = {path: x for path, x in shapes.items() if not trees.matches(path, source.skip)}
        saved = trees.flatten(store.param_shapes(step))
        found = {path: x for path, x in saved.items() if not trees.matches(path, source.skip)}
        complaints = name_report(wanted, found)
        if complaints:
            raise CheckpointError(
                f"config.init_from.workdir '{source.workdir}' does not fit this model: {'; '.join(complaints)}. Name "
                f"what may differ in config.init_from.skip."
            )
        state = self.init_state()
        values = trees.flatten(store.restore_params(step))
        params = trees.flatten(state.params)
        for path in wanted:
            params[path] = self._place(path, values[path])
        finished = trees.flatten(self.objective.finish_init(trees.unflatten(params)))
        for path in params:
            if path not in wanted:
                params[path] = jax.device_put(finished[path], self._placed[path])
        store.close()
        frozen, trained = trees.split(trees.unflatten(params), self.config.freeze)
        return TrainState(step=state.step, trained=trained, frozen=frozen, optimizer=state.optimizer)

    def _place(self, path: str, value: np.ndarray) -> jax.Array:
        """Puts a parameter where it belongs, in the dtype of the model."""
        shape = self._shapes[path]
        return _put(np.asarray(value).astype(shape.dtype, copy=False), self._placed[path])

    def _fresh_state(self) -> TrainState:
        params = self.objective.init_params(jax.random.key(self.config.seed))
        return create(params, self.config.freeze, self._optimizer)


def _put(value: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    """Places an array that every host holds whole: each takes its devices' pieces, without communication."""
    return jax.make_array_from_callback(np.shape(value), sharding, lambda index: np.asarray(value)[index])


def _check_patterns(key: str, patterns: Iterable[str], params: Mapping[str, Any]) -> None:
    for pattern in patterns:
        if not any(trees.matches(path, [pattern]) for path in trees.flatten(params)):
            names = ", ".join(params)
            raise ConfigError(f"config.{key} holds '{pattern}', which matches no parameter; top-level names: {names}.")
