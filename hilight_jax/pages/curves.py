"""The section of the report that draws a run's metrics over its steps."""

from collections.abc import Mapping, Sequence

from hilight_jax.pages import page
from hilight_jax.pages.charts import line_chart

Records = Sequence[Mapping[str, float]]

_NOT_LOSSES = (
    "step",
    "learning_rate",
    "gradient_norm",
    "seconds_per_step",
    "data_wait_share",
    "examples_per_second",
    "skipped",
)


def points(records: Records, name: str) -> list[tuple[float, float]]:
    """(step, value) of one figure, wherever it was measured."""
    return [(record["step"], record[name]) for record in records if name in record]


def section(records: Records, own_charts: Sequence[str]) -> str:
    """Losses, then a stage's own charts, then how the optimiser went; says so where there are no metrics."""
    losses = {}
    for record in records:
        if "loss" in record:
            for name, value in record.items():
                if name not in _NOT_LOSSES:
                    losses.setdefault(name, []).append((record["step"], value))
    charts = [
        line_chart("Loss", losses),
        *own_charts,
        line_chart("Learning rate", {"learning rate": points(records, "learning_rate")}, low=0.0),
        line_chart("Gradient norm", {"gradient norm": points(records, "gradient_norm")}, low=0.0),
        line_chart("Seconds per step", {"seconds": points(records, "seconds_per_step")}, low=0.0),
    ]
    if not any(charts):
        return page.section("Training", page.note(f"No metrics: {page.MISSING}."))
    return page.section("Training", f'<div class="charts">{"".join(charts)}</div>')
