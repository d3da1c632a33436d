import dataclasses
import shutil

import numpy as np
import pytest

from hilight_jax.core.errors import CheckpointError
from hilight_jax.runs.provenance import read_provenance
from hilight_jax.stages.chat_parts import gather_parts, keep_provenance
from tests.stages.runs import chat_overrides, make_towers, write_run
from tests.stages.tiny import tiny_config
from tests.stages.tiny_chat import tiny_chat_config


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    return make_towers(tmp_path_factory.mktemp("towers"))


def test_align_takes_one_tower_from_each_run_and_says_which(towers, tmp_path):
    parts, origins = gather_parts(
        tiny_chat_config("align", "demo,frames=long_clip", *chat_overrides(*towers)), tmp_path
    )
    assert list(parts) == ["vision", "text", "local", "frames"]
    assert [(part, origin.workdir, origin.step) for part, origin in origins.items()] == [
        ("vision", str(towers[0]), 1),
        ("text", str(towers[0]), 1),
        ("local", str(towers[0]), 1),
        ("frames", str(towers[1]), 1),
    ]
    keep_provenance(tmp_path, origins)
    assert read_provenance(tmp_path) == origins


def test_runs_in_the_wrong_place_are_refused_by_stage(towers, tmp_path):
    swapped = tiny_chat_config("align", "demo,frames=long_clip", *chat_overrides(*towers[::-1]))
    with pytest.raises(
        CheckpointError, match=r"sources.encoder is .* a run of the stage 'long_clip'; name a run of the"
    ):
        gather_parts(swapped, tmp_path)
    tune = tiny_chat_config("tune", "demo,frames=long_clip", f"--config.sources.align={towers[0]}")
    with pytest.raises(CheckpointError, match="sources.align is .* a run of the stage 'encoder'"):
        gather_parts(tune, tmp_path)


def test_towers_of_another_size_are_refused_with_both_sizes(towers, tmp_path):
    config = tiny_chat_config(
        "align", "demo,frames=long_clip", *chat_overrides(*towers, "--config.model.vision.mlp_dim=48")
    )
    with pytest.raises(CheckpointError, match=r"made with another vision: config.model.vision.mlp_dim: 32 -> 48"):
        gather_parts(config, tmp_path)


def test_a_run_that_does_not_exist_is_refused(tmp_path):
    config = tiny_chat_config(
        "align", "demo,frames=long_clip", *chat_overrides(tmp_path / "nowhere", tmp_path / "nowhere")
    )
    with pytest.raises(CheckpointError, match="nowhere' is not a working directory"):
        gather_parts(config, tmp_path)


@pytest.mark.parametrize("damaged", ['{"stage": "encoder"}', '{"stage": "encoder", "model": 3}'])
def test_a_source_whose_configuration_describes_no_model_is_refused(tmp_path, damaged):
    (tmp_path / "config.json").write_text(damaged)
    config = tiny_chat_config("align", "demo,frames=long_clip", *chat_overrides(tmp_path, tmp_path))
    with pytest.raises(CheckpointError, match="config.sources.encoder is .* describes no model; restore it"):
        gather_parts(config, tmp_path / "new")


def test_a_run_that_goes_on_keeps_the_parts_it_began_with(towers, tmp_path):
    config = tiny_chat_config("align", "demo,frames=long_clip", *chat_overrides(*towers))
    keep_provenance(tmp_path / "run", gather_parts(config, tmp_path / "run")[1])
    write_run(tmp_path / "run", config, {"token_mining": {"kernel": np.ones((2, 2), np.float32)}})
    moved = tmp_path / "moved"
    shutil.copytree(towers[0], moved)
    shutil.rmtree(moved / "checkpoints")
    other = tiny_chat_config("align", "demo,frames=long_clip", *chat_overrides(moved, towers[1]))
    parts, origins = gather_parts(other, tmp_path / "run")
    assert origins["vision"].workdir == str(towers[0]) and parts["vision"]


def test_a_run_that_has_no_checkpoint_yet_begins_anew_with_the_parts_that_are_named_now(towers, tmp_path):
    config = tiny_chat_config("align", "demo,frames=long_clip", *chat_overrides(*towers))
    keep_provenance(tmp_path / "run", gather_parts(config, tmp_path / "run")[1])
    moved = tmp_path / "moved"
    shutil.copytree(towers[0], moved)
    other = tiny_chat_config("align", "demo,frames=long_clip", *chat_overrides(moved, towers[1]))
    keep_provenance(tmp_path / "run", gather_parts(other, tmp_path / "run")[1])
    assert read_provenance(tmp_path / "run")["vision"].workdir == str(moved)


def test_without_a_frame_tower_the_encoder_gives_its_projection(tmp_path):
    params = {"vision": {"kernel": np.ones((2, 2), np.float32)}, "visual_projection": {"kernel": np.eye(2)}}
    params |= {"text": {"kernel": np.zeros(1)}, "local": {"scale": np.zeros(1)}}
    write_run(tmp_path / "encoder", tiny_config(), params | {"logit_scale": np.zeros(())})
    config = tiny_chat_config("align", "demo,frames=long_clip", *chat_overrides(tmp_path / "encoder", tmp_path / "x"))
    model = dataclasses.replace(config.model, frames=None)
    sources = dataclasses.replace(config.sources, long_clip="")
    parts, origins = gather_parts(dataclasses.replace(config, model=model, sources=sources), tmp_path)
    assert parts["visual_projection"]["kernel"].tolist() == [[1, 0], [0, 1]]
    assert origins["visual_projection"].workdir == str(tmp_path / "encoder") and list(parts) == list(origins)
