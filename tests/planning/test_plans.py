"""Advice for a run that does not fit."""

import dataclasses

from hilight_jax.planning.plans import advice
from hilight_jax.planning.topologies import parse
from tests.stages.tiny import tiny_config

CONFIG = dataclasses.replace(tiny_config(), batch_size=512)


def test_every_setting_that_helps_is_named():
    said = advice(CONFIG, parse("v5e:4x4"), 20 * 2**30)
    assert said.startswith("the run needs 20.00 GiB of a chip, which has 15.75 GiB:")
    for setting in ("model.compute.remat=true", "mesh.fsdp=4", "batch_size=256", "accumulate=2", "more chips than 16"):
        assert setting in said


def test_what_is_already_done_is_not_named():
    compute = dataclasses.replace(CONFIG.model.compute, remat=True)
    done = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, compute=compute), batch_size=16)
    said = advice(done, parse("v5e:4x4"), None)
    assert "remat=true" not in said and "batch_size=" not in said and "needs more than a chip" in said
