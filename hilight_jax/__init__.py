"""hilight_jax: a video-language system for billiards on TPU pods, after HiLight (arXiv 2407.07325)."""

import os
import typing

from hilight_jax.core import __version__ as __version__

if typing.TYPE_CHECKING:
    from hilight_jax.api import Model


def load(workdir: str | os.PathLike, which: typing.Literal["best", "latest"] = "latest") -> "Model":
    """Loads a trained model, see ``hilight_jax.api``; imports jax only now, for readers of data do without."""
    from hilight_jax import api

    return api.load(workdir, which)
