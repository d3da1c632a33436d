"""The parser of a config's argument, and the groups that several configs hold.

A config file names the keys whose values differ from the defaults of its stage's dataclasses, and those alone: the
defaults are the released models' sizes and settings, beside the code that reads them.
"""

from collections.abc import Callable, Collection, Mapping

from ml_collections import ConfigDict

from hilight_jax.core.errors import ConfigError, nearest

Preset = Callable[[], ConfigDict]
Change = Callable[[ConfigDict, str], None]


# Things that a clip of billiards may show; the demo's worlds have the object balls 1 to 6 and 8.
THINGS = (
    *(f"the {c} ball|the {c} one|{c}" for c in ("yellow", "blue", "red", "purple", "orange", "green", "black")),
    "the cue ball|the white ball|the white one",
)


def parse(argument: str, presets: Mapping[str, Preset], changes: Mapping[str, Change] | None = None) -> ConfigDict:
    """Returns the config of `PRESET[,key=value...]`.

    Args:
      argument: The text after the colon of `--config FILE.py:ARGUMENT`.
      presets: A function for each preset, which makes a config of its own.
      changes: A function for each key, which applies a value to the config. They are called in this order, whatever
        the order of the argument.

    Raises:
      ConfigError: The preset or a key is unknown.
    """
    changes = changes or {}
    preset, *pairs = argument.split(",")
    given = dict(pair.partition("=")[::2] for pair in pairs)
    if preset not in presets:
        raise ConfigError(f"'{preset}' is not a preset.{nearest(preset, presets)} Presets: {', '.join(presets)}.")
    for key in given:
        if key not in changes:
            known = ", ".join(changes) or "none"
            raise ConfigError(f"'{key}' is not an argument.{nearest(key, changes)} Known: {known}.")
    config = presets[preset]()
    config.preset = argument
    for key, change in changes.items():
        if key in given:
            change(config, given[key])
    return config


def check_choice(key: str, value: str, choices: Collection[str]) -> None:
    """Refuses a value of an argument that is not among its choices.

    Raises:
      ConfigError: It is not.
    """
    if value not in choices:
        raise ConfigError(f"{key}={value} is not one of {', '.join(choices)}.{nearest(value, choices)}")


def demo_vision() -> dict:
    """The demo's video tower: 6 frames of 64 pixels."""
    return {
        "image_size": 64,
        "patch_size": 8,
        "width": 128,
        "depth": 3,
        "num_heads": 4,
        "mlp_dim": 256,
        "num_frames": 6,
    }


def demo_text() -> dict:
    """The demo's text tower."""
    return {"width": 128, "depth": 2, "num_heads": 4, "mlp_dim": 256}


def demo_local() -> dict:
    """The demo's local heads: word maps are read at the embeddings."""
    return {
        "levels": ("embedding", "last"),
        "head": "mlp",
        "text_side": "embedding",
        "center_video": True,
    }


def demo_frames() -> dict:
    """The demo's tower of single frames."""
    return {
        "image_size": 64,
        "patch_size": 8,
        "width": 128,
        "depth": 2,
        "num_heads": 4,
        "mlp_dim": 256,
        "embed_dim": 128,
    }


def demo_world(source: str, train: str = "", evaluation: str = "", world: str = "demo-v2") -> dict:
    """The three splits of a world, read by `source`; `train` and `evaluation` are its options."""
    options = {"train": train, "validation": evaluation, "unseen": evaluation}
    return {split: f"{source}:{{data_dir}}/{world}/1.0.0/{split}{more}" for split, more in options.items()}
