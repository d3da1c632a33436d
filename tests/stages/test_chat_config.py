import dataclasses

import pytest

from configs.align import CONNECTORS
from hilight_jax.core.errors import ConfigError
from hilight_jax.stages.chat import tower_settings
from hilight_jax.stages.load_config import load_config


@pytest.mark.parametrize(
    "spec",
    [
        "align.py:demo",
        "align.py:demo,frames=long_clip",
        "align.py:2b",
        "tune.py:demo",
        "tune.py:2b",
        "tune.py:2b,train=full",
    ],
)
def test_every_preset_is_a_whole_configuration(spec):
    config = load_config(f"configs/{spec}")
    things = len(config.data.things or ())
    assert config.data.num_video_tokens == config.model.num_video_tokens(config.data.key_frames.count, things)
    assert (things > 0) == (config.model.word_tracks is not None) == ("demo" in spec)


@pytest.mark.parametrize("connector", CONNECTORS)
@pytest.mark.parametrize(("preset", "rows"), [("demo", {"grid_pooling": 9}), ("2b", {"grid_pooling": 36})])
def test_every_connector_fits_both_sizes(preset, rows, connector):
    specs = (f"configs/align.py:{preset},connector={name}" for name in ("dual_projector", connector))
    plain, config = map(load_config, specs)
    released, mining = plain.model.token_mining, config.model.token_mining
    rows = {"two_linear": 1, "one_linear": 1, "frame_mean": 1, **rows}.get(connector, released.tokens_per_frame)
    assert mining.tokens_per_frame == rows
    more = plain.data.key_frames.count * (rows - released.tokens_per_frame)
    assert config.data.num_video_tokens == plain.data.num_video_tokens + more
    assert mining == dataclasses.replace(released, **{"tokens_per_frame": rows} | CONNECTORS[connector])


def test_a_frame_tower_comes_from_the_run_that_the_preset_names():
    own, default = (load_config(f"configs/align.py:2b{more}") for more in (",frames=long_clip", ""))
    assert own.sources == default.sources
    assert load_config("configs/align.py:mini,frames=long_clip").sources.long_clip == "runs/long_clip-demo"


@pytest.mark.parametrize("preset", ["demo", "2b"])
def test_tracks_off_leaves_the_connector_alone(preset):
    config = load_config(f"configs/align.py:{preset},tracks=off,connector=positions")
    assert config.model.word_tracks is None and config.data.things is None
    assert config.data.num_video_tokens == config.model.num_video_tokens(config.data.key_frames.count, 0)


def test_word_tracks_can_be_taken_apart():
    whole, waves, plain = (
        load_config(f"configs/align.py:demo{more}") for more in ("", ",tracks=waves", ",tracks=plain")
    )
    assert whole.model.word_tracks.relation_layers and not waves.model.word_tracks.relation_layers
    assert whole.model.word_tracks.octaves == waves.model.word_tracks.octaves > 0 == plain.model.word_tracks.octaves
    assert whole.data == waves.data == plain.data
    with pytest.raises(ConfigError, match="tracks=plain is about word tracks, which this preset does not have"):
        load_config("configs/align.py:2b,tracks=plain")


def test_a_cache_of_features_is_kept_while_only_what_reads_them_changes():
    def settings(*changes):
        return tower_settings(load_config("configs/align.py:demo", changes))

    kept = settings("--config.model.word_tracks.octaves=1", "--config.model.gemma.depth=1", "--config.steps=3")
    assert kept == settings()
    for change in (
        "word_tracks.sharpness=9",
        "vision.num_heads=2",
        "local.center_video=False",
        "compute.attention=plain",
    ):
        assert settings(f"--config.model.{change}") != settings()
    assert settings("--config.data.things=('the red ball',)", "--config.data.num_video_tokens=5") != settings()


def test_the_2b_presets_are_the_released_recipe():
    align, tune = load_config("configs/align.py:2b"), load_config("configs/tune.py:2b")
    assert (align.optimizer.learning_rate, tune.optimizer.learning_rate) == (1e-4, 1e-3)
    assert align.steps == 20 * 702_750 // 30 and tune.steps == 3 * 100_010 // 30
    assert align.freeze == ("gemma",) and tune.freeze == ("token_mining", "gemma")
    assert (tune.model.lora.rank, tune.model.lora.alpha, tune.model.lora.dropout) == (64, 32.0, 0.05)
    assert align.data.num_video_tokens == 384


@pytest.mark.parametrize(
    ("spec", "overrides", "sentence"),
    [
        ("align.py:demo", ["--config.sources.encoder="], r"sources.encoder is empty, but the stage align builds on"),
        ("align.py:demo", ["--config.sources.align=x"], r"sources.align is 'x', but the stage align takes its parts"),
        ("align.py:2b", ["--config.sources.long_clip="], r"sources.long_clip is empty, but the stage align builds on"),
        ("align.py:demo", ["--config.sources.long_clip=x"], r"sources.long_clip is 'x', but the stage align takes its"),
        ("align.py:2b", ["--config.sources.language_model="], "nothing can be aligned to a language model that never"),
        ("tune.py:demo", ["--config.sources.align="], "sources.align is empty, but the stage tune builds on"),
        ("align.py:demo", ["--config.model.lora.rank=4"], "config.model.lora is for the stage tune"),
        ("tune.py:demo", ["--config.data.tokenizer=x"], "tokenizer is 'x', but the stage tune keeps the tokenizer of"),
        ("tune.py:demo", ["--config.model.lora.targets=['layers/(']"], "is not a regular expression of paths"),
        ("align.py:demo", ["--config.cache_gb=-1"], "cache_gb is -1.0, but must be at least 0"),
        ("align.py:demo", ["--config.data.image_size=96"], "data.image_size is 96, but config.model.vision.image_size"),
        ("align.py:demo", ["--config.data.num_video_tokens=31"], "is 31, but 4 key frames of 1 tokens and 8"),
        ("align.py:demo", ["--config.data.things=()"], "12, but 4 key frames of 1 tokens and 0 things make 4"),
        ("align.py:2b", ["--config.data.things=()"], "model.word_tracks is not set and config.data.things is"),
        ("align.py:demo", ["--config.model.word_tracks=None"], "model.word_tracks is not set"),
        ("align.py:demo", ["--config.model.word_tracks.num_frames=3"], "word_tracks.num_frames is 3, but"),
        ("align.py:demo", ["--config.data.max_videos=3"], "must be at most config.model.word_tracks.max_clips=2"),
        ("align.py:demo", ["--config.stage=alingn"], "config.stage is 'alingn'.*Did you mean 'align'"),
        ("align.py:demo,connector=linear", [], "connector=linear is not one of"),
        ("tune.py:demo,train=lorra", [], "train=lorra is not one of.*Did you mean 'lora'"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(spec, overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(f"configs/{spec}", overrides)
