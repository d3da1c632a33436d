"""hilight_jax: a video-language system for billiards on TPU pods, after HiLight (arXiv 2407.07325)."""

__version__ = "0.1.0"
