"""Configs are loose outside and frozen inside."""

import dataclasses
from typing import Literal

import pytest

from hilight_jax.core.config import build, differences, to_dict
from hilight_jax.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclasses.dataclass(frozen=True)
class Outer:
    steps: int
    inner: Inner = Inner()
    names: tuple[str, ...] = ()
    limit: int | None = None
    flag: bool = False


def test_nested_mappings_become_dataclasses():
    assert build(Outer, {"steps": 3, "inner": {"rate": 1}, "names": ["x"], "limit": None}) == Outer(
        3, Inner(rate=1.0), ("x",)
    )


def test_unknown_key_is_refused_and_the_nearest_known_one_named():
    with pytest.raises(ConfigError, match=r"config\.inner\.ratee is not a known key\. Did you mean 'rate'\?"):
        build(Outer, {"steps": 3, "inner": {"ratee": 1.0}})


def test_missing_key_is_named():
    with pytest.raises(ConfigError, match=r"config\.steps is missing"):
        build(Outer, {})


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({"steps": "3"}, "config.steps is '3' .str., but must be of type int"),
        ({"steps": 3.5}, "config.steps is 3.5 .float., but must be of type int"),
        ({"steps": True}, "config.steps is True .bool., but must be of type int"),
        ({"steps": 1, "flag": 1}, "config.flag is 1 .int., but must be of type bool"),
        ({"steps": 1, "names": "abc"}, "config.names is 'abc', but must be a list"),
        ({"steps": 1, "inner": {"kind": "c"}}, "config.inner.kind is 'c', but must be one of 'a', 'b'"),
        ({"steps": 1, "inner": 4}, "config.inner is 4, but it must be a group of keys"),
    ],
)
def test_a_value_of_another_type_is_one_sentence(mapping, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(Outer, mapping)


def test_to_dict_round_trips():
    config = Outer(3, Inner(0.25, "b"), ("x", "y"), 7, True)
    assert build(Outer, to_dict(config)) == config


def test_differences_name_the_leaf_and_both_values():
    assert differences(to_dict(Outer(3)), to_dict(Outer(4, Inner(rate=1.0)))) == [
        "config.inner.rate: 0.5 -> 1.0",
        "config.steps: 3 -> 4",
    ]
