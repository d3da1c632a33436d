"""A table of two rows whose runs are made of a file or two."""

from hilight_jax.experiments.run_table import RunTable
from hilight_jax.pages.ablation_table import Layout

TABLE = RunTable(
    name="colours",
    about="",
    config="configs/encoder.py",
    spec="{config}:{argument}",
    rows={"red": "demo,setting=0", "blue": "demo"},
    splits=("validation",),
    figures=lambda workdir: {"date": "2026-11-22", "right": 0.5},
    layout=Layout("Colours", "colour", {"right": "right"}, "Right: the share."),
)
