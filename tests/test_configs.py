"""The shipped configs: presets, arguments, imports between their files."""

import pathlib
import sys

import jax
import pytest

from hilight_jax.core import trees
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.stages.encoder import EncoderObjective
from hilight_jax.stages.load_config import load_config
from hilight_jax.training.trainer import Trainer

LEVELS = {0: (), 1: ("last",), 2: ("last",), 3: ("embedding",), 4: ("all",)}


@pytest.mark.parametrize("preset", ["demo", "b32", "b16"])
@pytest.mark.parametrize("setting", LEVELS)
def test_settings_are_those_of_the_report(preset, setting):
    config = load_config(f"configs/encoder.py:{preset},setting={setting}")
    assert config.model.local.levels == LEVELS[setting]
    assert config.loss.local.contrast == ("within_clip" if setting else "none")
    assert (config.loss.local_weight, config.loss.local.queries, config.model.local.head) == (1.0, "tokens", "linear")
    assert config.data.language_mask == ("none" if setting == 1 else "content")


def test_arguments_do_not_depend_on_their_order():
    one = load_config("configs/encoder.py:demo,setting=2,mask=padding")
    other = load_config("configs/encoder.py:demo,mask=padding,setting=2")
    assert (one.data.language_mask, one.model, one.loss) == (other.data.language_mask, other.model, other.loss)
    assert one.data.language_mask == "padding"


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("dmo", "'dmo' is not a preset. Did you mean 'demo'"),
        ("demo,settings=2", "'settings' is not an argument. Did you mean 'setting'"),
        ("demo,setting=5", "setting=5 is not one of"),
        ("demo,exclude=all", "exclude=all is not one of"),
        ("demo,swaps=4", "swaps=4 is not one of 0, 1, 2, 3"),
        ("demo,setting=4,weights=flat", "weights=flat is not one of rising, even"),
        ("demo,setting=2,weights=even", "local.rising is False, which is about levels"),
        ("demo,setting=2,sparsity=low", "sparsity=low is neither a number, such as 0.5, nor a number of patches"),
        ("demo,setting=2,sparsity=top0", "sparsity=top0 is neither a number, such as 0.5, nor a number of patches"),
        ("demo,setting=2,sparsity=inf", "sparsity=inf is neither a number"),
        ("demo,sparsity=2", "threshold is 2.0, but contrast 'across_clips' does not read it"),
        ("demo,positions=no", "positions=no is not one of on, off"),
    ],
)
def test_a_wrong_argument_is_one_sentence(argument, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(f"configs/encoder.py:{argument}")


def test_sparsity_is_a_multiple_of_the_threshold_or_a_number_of_patches():
    half, top = (load_config(f"configs/encoder.py:demo,setting=2,sparsity={value}") for value in ("0.5", "top16"))
    assert (half.loss.local.threshold, half.loss.local.top_patches) == (0.5, 0)
    assert (top.loss.local.threshold, top.loss.local.top_patches) == (1.0, 16)
    assert load_config("configs/encoder.py:demo,setting=4,weights=even").model.level_weights == (1 / 3, 1 / 3, 1 / 3)


def test_swaps_are_for_the_loss_of_one_text_a_clip():
    assert load_config("configs/encoder.py:demo").data.swaps == 0
    assert load_config("configs/encoder.py:demo,swaps=2").data.swaps == 2
    pretraining = ("--config.loss.contrast=nce_vsc_fc", "--config.data.frame_captions=true")
    with pytest.raises(ConfigError, match="config.data.swaps is 2, but config.loss.contrast='nce_vsc_fc' has no place"):
        load_config("configs/encoder.py:demo,swaps=2", pretraining)


def test_the_real_encoder_has_the_published_number_of_parameters():
    """CLIP B/16 has 149,620,737 parameters; CLIP-ViP adds 3 proxy tokens and 12 temporal rows of width 768."""
    config = load_config("configs/encoder.py:b16,setting=0")
    trainer = Trainer(config, EncoderObjective(config, make_mesh()), make_mesh())
    assert trees.count(trainer.state_shapes.trained) == 149_620_737 + (3 + 12) * 768
    assert isinstance(trainer.state_shapes.step, jax.ShapeDtypeStruct)


def test_a_config_of_ones_own_may_use_the_shipped_ones_from_the_checkout(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from configs import encoder\n"
        "def get_config(argument='own'):\n"
        "    config = encoder.demo()\n"
        "    config.preset, config.steps = argument, 7\n"
        "    return config\n"
    )
    path = sys.path[:]
    config = load_config(f"{tmp_path}/mine.py")
    assert (config.preset, config.steps, config.batch_size) == ("own", 7, 32)
    assert sys.path == path


def test_files_of_two_folders_of_one_name_do_not_mix(tmp_path):
    shipped = {path.name: path.read_text() for path in pathlib.Path("configs").glob("*.py")}
    widths = {}
    for place, width in (("one", "32"), ("other", "16")):
        (tmp_path / place / "configs").mkdir(parents=True)
        for name, text in shipped.items():
            text = text.replace('"width": 128', f'"width": {width}').replace('"num_heads": 4', '"num_heads": 2')
            (tmp_path / place / "configs" / name).write_text(text)
        widths[place] = load_config(f"{tmp_path}/{place}/configs/encoder.py:demo").model.vision.width
    assert widths == {"one": 32, "other": 16}
    assert load_config("configs/encoder.py:demo").model.vision.width == 128


def test_a_file_that_is_no_config_is_one_sentence():
    with pytest.raises(ConfigError, match=r"'configs/common\.py' defines no get_config"):
        load_config("configs/common.py")
