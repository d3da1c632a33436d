"""Every preset and argument of the shipped configs builds, and says what it is."""

import jax
import pytest

from hilight_jax.core import trees
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.stages.encoder_objective import EncoderObjective
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
    ],
)
def test_a_wrong_argument_is_one_sentence(argument, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(f"configs/encoder.py:{argument}")


def test_the_real_encoder_has_the_published_number_of_parameters():
    """CLIP B/16 has 149,620,737 parameters; CLIP-ViP adds 3 proxy tokens and 12 temporal rows of width 768."""
    config = load_config("configs/encoder.py:b16,setting=0")
    trainer = Trainer(config, EncoderObjective(config, make_mesh()), make_mesh())
    assert trees.count(trainer.state_shapes.trained) == 149_620_737 + (3 + 12) * 768
    assert isinstance(trainer.state_shapes.step, jax.ShapeDtypeStruct)
