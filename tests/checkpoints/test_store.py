"""Checkpoints come back bitwise, onto other meshes and in parts; what does not fit is named."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hilight_jax.checkpoints.store import KeepConfig, Store, join_parts, name_report, split_parts
from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.core.sharding import shardings

RULES = ((".*kernel", ("fsdp", None)), (".*scale", ()))
PARAMS = {
    "vision": {"kernel": jnp.arange(32.0).reshape(8, 4)},
    "text": {"kernel": jnp.arange(16.0).reshape(8, 2) + 0.1},
    "logit_scale": jnp.float32(4.6),
}
OPTIMIZER = optax.adam(1e-3)


def saved(directory, steps=(1,), metrics=None, keep=KeepConfig(best_metric="score")):
    store = Store(directory, keep)
    state = OPTIMIZER.init(PARAMS)
    for step in steps:
        store.save(step, PARAMS, state, {"step": step}, {"seed": 0}, metrics and metrics[step])
    store.wait()
    return store, state


def targets(mesh):
    shapes = jax.eval_shape(lambda: PARAMS)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings(shapes, RULES, mesh)
    )


def test_parts_are_towers_and_heads_and_join_again():
    parts = split_parts(PARAMS)
    assert set(parts) == {"vision", "text", "heads"}
    assert join_parts(parts).keys() == PARAMS.keys()


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_restores_bitwise_onto_any_mesh(tmp_path, devices):
    store, state = saved(tmp_path / "c")
    mesh = make_mesh(MeshConfig(fsdp=devices), jax.devices()[:devices])
    params = store.restore_params(1, targets(mesh))
    jax.tree.map(np.testing.assert_array_equal, params, PARAMS)
    assert len(params["vision"]["kernel"].sharding.device_set) == devices
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        ),
        state,
    )
    jax.tree.map(np.testing.assert_array_equal, store.restore_optimizer(1, like), state)
    assert store.position(1) == {"step": 1}
    assert store.config(1) == {"seed": 0}


def test_another_process_reads_it_to_numpy_and_in_parts(tmp_path):
    saved(tmp_path / "c")
    store = Store(tmp_path / "c", read_only=True)
    params = store.restore_params(1)
    assert isinstance(params["vision"]["kernel"], np.ndarray)
    vision = store.restore_params(1, {"vision": targets(make_mesh())["vision"]})
    assert set(vision) == {"vision"}


def test_names_and_shapes_that_do_not_fit_are_listed(tmp_path):
    store, _ = saved(tmp_path / "c")
    wanted = targets(make_mesh())
    wanted["vision"]["kernel"] = jax.ShapeDtypeStruct((8, 5), jnp.float32, sharding=wanted["vision"]["kernel"].sharding)
    wanted["text"]["extra"] = wanted["text"]["kernel"]
    with pytest.raises(
        CheckpointError, match=r"missing 'text/extra' \(8, 2\); 'vision/kernel' has shape \(8, 4\) where"
    ):
        store.restore_params(1, wanted)
    assert name_report({"a": PARAMS["vision"]}, {"b": PARAMS["vision"]}) == [
        "missing 'a/kernel' (8, 4)",
        "extra 'b/kernel' (8, 4)",
    ]


def test_the_best_and_the_newest_steps_stay(tmp_path):
    metrics = {step: {"score": score} for step, score in {1: 0.3, 2: 0.9, 3: 0.1, 4: 0.2}.items()}
    store, _ = saved(tmp_path / "c", (1, 2, 3, 4), metrics, KeepConfig(latest=1, best_metric="score"))
    assert store.best() == 2
    assert store.latest() == 4
    assert [store.resolve(which) for which in ("best", "latest", 3)] == [2, 4, 3]
    assert sorted(int(path.name) for path in (tmp_path / "c").iterdir() if path.name.isdigit()) == [2, 4]


def test_a_full_disk_is_one_sentence_and_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    store, state = saved(tmp_path / "c")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(CheckpointError, match="a checkpoint needs 1 MB.*free some space"):
        store.save(2, PARAMS, state, {"step": 2}, {})
    assert store.latest() == 1


def test_a_best_metric_that_nothing_measures_is_named(tmp_path):
    store, state = saved(tmp_path / "c")
    with pytest.raises(ConfigError, match="best_metric is 'score', which .* not give. Did you mean 'scores'"):
        store.save(2, PARAMS, state, {"step": 2}, {}, {"scores": 0.5})


@pytest.mark.parametrize("key", ["every", "latest"])
def test_keeping_nothing_is_refused(key):
    with pytest.raises(ConfigError, match=f"config.keep.{key} is 0"):
        KeepConfig(**{key: 0})


def test_a_reader_finds_the_best_step_by_the_metric_that_the_run_was_configured_with(tmp_path):
    store = Store(tmp_path / "c", KeepConfig(latest=2, best_metric="score"))
    for step, score in {1: 0.9, 2: 0.1}.items():
        store.save(step, PARAMS, None, {"step": step}, {"keep": {"best_metric": "score"}}, {"score": score})
    store.close()
    assert Store(tmp_path / "c", read_only=True).resolve("best") == 1


def test_a_run_without_checkpoints_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="holds no finished checkpoint yet"):
        Store(tmp_path / "c").resolve("latest")


def test_a_missing_directory_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoints in"):
        Store(tmp_path / "none", read_only=True)
