"""Sources and the names of their results."""

from types import SimpleNamespace

import pytest

from hilight_jax.core.errors import UserError
from hilight_jax.evals.source_names import check_names, source_name, specifications


def test_results_never_overwrite_each_other():
    sources = ["tfds:a/1/validation", "tfds:a/1/unseen"]
    check_names(sources, None)
    check_names(sources[:1], "mine")
    with pytest.raises(UserError, match="--name mine would give tfds:a/1/validation and tfds:a/1/unseen one file"):
        check_names(sources, "mine")
    with pytest.raises(UserError, match="would both be called test"):
        check_names(["tfds:a/1/test", "manifest:test.jsonl"], None)


def test_sources_come_from_the_run_unless_named():
    data = SimpleNamespace(validation="tfds:data/w/1/validation", unseen="tfds:data/w/1/unseen")
    config = SimpleNamespace(data=data)
    assert specifications(config, None, None) == [data.validation, data.unseen]
    assert specifications(config, None, "train") == ["tfds:data/w/1/train"]
    assert specifications(config, "tfds:data/w/1/", "unseen") == ["tfds:data/w/1/unseen"]
    assert specifications(config, "questions:data/w/1,turns=2", "unseen") == ["questions:data/w/1/unseen,turns=2"]
    assert specifications(config, "a.jsonl", None) == ["a.jsonl"]
    config.data.validation = "questions:data/w/1/validation,two_clips=0.1/2"
    assert specifications(config, None, "train") == ["questions:data/w/1/train,two_clips=0.1/2"]


def test_a_run_without_held_out_clips_needs_a_source():
    config = SimpleNamespace(data=SimpleNamespace(validation="", unseen=""))
    with pytest.raises(UserError, match="--data"):
        specifications(config, None, None)


@pytest.mark.parametrize(
    ("specification", "name"),
    [
        ("tfds:data/w/1.0.0/unseen", "unseen"),
        ("manifest:my/clips.jsonl", "clips"),
        ("msrvtt:MSRVTT_data.json,videos=v,split=test", "MSRVTT_data"),
    ],
)
def test_results_are_named_after_their_source(specification, name):
    assert source_name(specification) == name
