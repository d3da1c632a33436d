"""Which steps are traced; what names none is one sentence."""

import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.training.long_runs.profiling import profiled_steps
from tests.stages.tiny import tiny_config


def test_both_ends_are_traced():
    assert list(profiled_steps("10:13", 20)) == [10, 11, 12, 13]
    assert list(profiled_steps("", 20)) == []


@pytest.mark.parametrize("text", ["10", "13:10", "0:3", "18:21", "a:b", "1:2:3", ":", "-1:3"])
def test_what_is_no_pair_of_steps_is_refused(text):
    with pytest.raises(ConfigError, match=f"config.profile is '{text}', but must be FIRST:LAST.*config.steps=20"):
        profiled_steps(text, 20)


def test_the_command_line_takes_it():
    assert tiny_config("demo", "--config.profile=10:13").profile == "10:13"
    with pytest.raises(ConfigError, match="config.profile is '13:10'"):
        tiny_config("demo", "--config.profile=13:10")


@pytest.mark.parametrize("key", ["max_skipped_steps", "stall_seconds"])
def test_less_than_nothing_is_refused(key):
    with pytest.raises(ConfigError, match=f"config.{key} is -1"):
        tiny_config("demo", f"--config.{key}=-1")
