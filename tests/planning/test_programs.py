"""Programs of a run as they are compiled for a pod."""

import dataclasses

import jax
import pytest

from hilight_jax.core.mesh import make_mesh
from hilight_jax.planning.memory import arguments
from hilight_jax.planning.programs import DoesNotFit, for_tpu, make_trainer, written_out
from tests.stages.tiny import tiny_config
from tests.stages.tiny_chat import tiny_chat_config


def test_auto_is_what_a_tpu_would_take():
    config = tiny_config()
    assert config.model.compute.dtype == "auto"
    assert for_tpu(config).model.compute.dtype == "bfloat16"
    asked = for_tpu(config, dtype="float32", unroll=True).model.compute
    assert (asked.dtype, asked.unroll) == ("float32", True)


def test_what_is_written_out_has_no_loop_left():
    config = dataclasses.replace(tiny_config(), accumulate=2)
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, contrast_chunk=4))
    found = written_out(config)
    assert (found.batch_size, found.accumulate, found.loss.contrast_chunk) == (config.batch_size // 2, 1, 0)
    assert found.model.compute.unroll


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (197.08G) "
            "exceeds available HBM (15.75G).",
            197.08,
        ),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.\nMore.", 20.5),
    ],
)
def test_the_compilers_own_figures_are_read(message, needed):
    problem = DoesNotFit(message)
    assert problem.needed == round(needed * 2**30)
    assert problem.remark.startswith("Ran out of memory") and "\n" not in problem.remark


def test_a_chips_share_of_the_arguments():
    config = dataclasses.replace(tiny_config(), mesh=dataclasses.replace(tiny_config().mesh, fsdp=2))
    trainer = make_trainer(config, make_mesh(config.mesh, jax.devices()[:4]))
    whole = make_trainer(tiny_config(), make_mesh(tiny_config().mesh, jax.devices()[:4]))
    split, alone = arguments(trainer), arguments(whole)
    assert alone["trained"] / 2 <= split["trained"] < alone["trained"]
    assert alone["trained"] < alone["optimizer"] < 2 * alone["trained"], "one moment of a matrix, two of the rest"
    assert alone["frozen"] == 0
    assert split["batch"] == alone["batch"]


def test_a_chat_stage_is_built_without_any_run_to_build_on():
    config = tiny_chat_config("tune", "demo,frames=long_clip")
    trainer = make_trainer(config, make_mesh(config.mesh, jax.devices()[:4]))
    assert set(trainer.state_shapes.params) == {"token_mining", "gemma", "lora", "word_tracks"}
    assert arguments(trainer)["frozen"] > 0
