"""Memory of programs compiled for this machine: the parts add up to the compiler's figures."""

import jax
import pytest

from hilight_jax.core import trees
from hilight_jax.core.mesh import make_mesh
from hilight_jax.planning.memory import account, held_by_towers
from hilight_jax.planning.programs import compile_step, compile_towers, make_trainer
from tests.stages.tiny_chat import tiny_chat_config

CONFIG = tiny_chat_config("tune", "demo,frames=long_clip")


@pytest.fixture(scope="module")
def compiled():
    trainer = make_trainer(CONFIG, make_mesh(CONFIG.mesh, jax.devices()[:2]))
    return trainer, compile_step(trainer), compile_towers(CONFIG, jax.devices()[:2])


def test_arguments_and_what_lies_beside_them_make_the_compilers_total(compiled):
    trainer, step, _ = compiled
    memory, found = account(trainer, step), step.compiled.memory_analysis()
    arguments = memory.trained + memory.frozen + memory.optimizer + memory.batch + memory.padding
    assert arguments == found.argument_size_in_bytes
    assert memory.padding >= 0 and memory.towers == 0
    beside = found.output_size_in_bytes - found.alias_size_in_bytes + found.temp_size_in_bytes
    assert memory.total == arguments + beside + found.generated_code_size_in_bytes
    assert memory.frozen == 4 * trees.count(trainer.state_shapes.frozen)


def test_towers_add_their_parameters_and_the_larger_of_both_workspaces(compiled):
    trainer, step, towers = compiled
    alone, both = account(trainer, step), account(trainer, step, towers)
    assert both.towers == held_by_towers(towers) > 0
    assert both.temporaries >= alone.temporaries
    assert both.total >= alone.total + both.towers
