"""The report of a training run: `report/index.html` beside the checkpoints, figures always with their controls.

Read from the working directory: `config.json`, `metrics.jsonl` records (given), `evaluations/*.json` as `evaluate`
writes them, and the table of the control runs (given, see `control_table.py`), if there is one.
"""

import datetime
import json
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.pages import control_table, evaluation_tables, page
from hilight_jax.pages.charts import line_chart, number
from hilight_jax.pages.examples import Example, draw_word, save_word
from hilight_jax.pages.page import share, text
from hilight_jax.pages.results import read_result

_NOT_LOSSES = ("step", "learning_rate", "gradient_norm", "seconds_per_step", "data_wait_share")


def write_report(
    workdir: Path,
    records: Sequence[Mapping[str, float]],
    examples: Sequence[Example] = (),
    controls: Mapping[str, Any] | None = None,
    drawn_from: str = "",
    overrides: Sequence[str] | None = (),
) -> Path:
    """Writes `workdir/report/` anew and returns the path of its index.html.

    Args:
      workdir: the working directory of a run.
      records: its metrics, in order; each has 'step'.
      examples: held-out clips to show, every word with its true place.
      controls: the table of `python -m hilight_jax.controls`, see `control_table.py`.
      drawn_from: the checkpoint that drew the examples, in words.
      overrides: options that turn the preset's own configuration into that of the run; None when they are not known.
    """
    config = read_result(workdir / "config.json") or {}
    evaluations = [read_result(path) for path in sorted((workdir / "evaluations").glob("*.json"))]
    # The held-out clips of the training world come first.
    evaluations.sort(key=lambda result: (result["split"] != "validation", result["name"]))
    folder = workdir / "report"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    body = [
        _head(workdir, config, records, evaluations),
        _examples(folder, examples, drawn_from),
        evaluation_tables.retrieval(evaluations),
        evaluation_tables.grounding(evaluations),
        _curves(records),
        control_table.section(controls),
        _reproduce(workdir, config, evaluations, overrides),
        f"<footer>Written {datetime.datetime.now():%Y-%m-%d %H:%M} by hilight_jax.</footer>",
    ]
    title = f"{config.get('name', workdir.name)} {config.get('preset', '')}".strip()
    path = folder / "index.html"
    path.write_text(page.render(f"{title} · report", body), encoding="utf-8")
    return path


def _head(workdir, config, records, evaluations):
    step = max((record["step"] for record in records), default=0)
    planned = f" of {config['steps']}" if config.get("steps") else ""
    items = []
    for result in evaluations:
        videos, ranks = result["retrieval"]["num_videos"], result["retrieval"]["plain"]["text_to_video"]
        chance = f"{result['split']}: {videos} clips, chance {number(1 / videos)}, R@5 {share(ranks['R@5'])}"
        chance += f", {evaluation_tables.checkpoint(result)}"
        items.append(("Text → video, R@1", share(ranks["R@1"]), chance))
        ball = result["grounding"]["classes"].get("ball")
        if ball:
            controls = f"random patch {share(ball['area_chance'])}, random ball {share(ball['random_ball'])}"
            controls += f", maps: {evaluation_tables.maps(result)}"
            items.append(("Pointing at the named ball", share(ball["pointing"]), f"{result['split']}: {controls}"))
    if not items:
        items = [("Evaluation", "–", page.MISSING)]
    name = f"{config.get('name', workdir.name)} · {config.get('preset', 'own config')}"
    lead = f"CLIP-ViP+ video encoder, trained to step {step}{planned}; working directory <code>{text(workdir)}</code>."
    return f'<header>\n<h1>{text(name)}</h1>\n<p class="lead">{lead}</p>\n</header>\n{page.tiles(items)}'


def _examples(folder, examples, drawn_from):
    if not examples:
        return ""
    clips = []
    for i, example in enumerate(examples):
        pictures = []
        for j, word in enumerate(example.words):
            name = f"clip{i}-word{j}.gif"
            frames = draw_word(example, word)
            save_word(folder / name, frames)
            pictures.append(
                f'<img src="{name}" width="{frames.shape[2]}" height="{frames.shape[1]}" loading="lazy" '
                f'alt="similarity of {text(example.title(word))} to every patch">'
            )
        clips.append(
            f'<div class="clip"><p>{example.marked_caption()}</p><div class="pictures">{"".join(pictures)}</div>'
            f'<p class="note">{text(example.name)}</p></div>'
        )
    words = (
        "Held-out clips, taken in order and not picked. Bright patches resemble the word most; the ring is where the "
        "named thing truly is (shown only while it can be seen; the model never saw it)."
    ) + (f" Checkpoint: {drawn_from}." if drawn_from else "")
    return page.section("What the model looks at", page.note(words), f'<div class="clips">{"".join(clips)}</div>')


def _curves(records):
    losses = {}
    for record in records:
        if "loss" in record:
            for name, value in record.items():
                if name not in _NOT_LOSSES:
                    losses.setdefault(name, []).append((record["step"], value))

    def points(name):
        return [(record["step"], record[name]) for record in records if name in record]

    figures = {name for record in records for name in record}
    found = (re.fullmatch(r"(\w+)/text_to_video_r(\d+)", name) for name in figures)
    shown = sorted((match for match in found if match), key=lambda match: (match[1] != "validation", int(match[2])))
    recalls = {f"{match[1]} R@{match[2]}": points(match[0]) for match in shown}
    pointing = {
        name.removesuffix("_pointing").replace("/", ", "): points(name)
        for name in sorted(figures)
        if name.endswith("_pointing")
    }
    chance = [record["validation/ball_area_chance"] for record in records if "validation/ball_area_chance" in record]
    charts = [
        line_chart("Loss", losses),
        line_chart("Retrieval, text → video", recalls, low=0.0),
        line_chart("Pointing", pointing, {"random patch": chance[-1]} if chance else {}, low=0.0),
        line_chart("Learning rate", {"learning rate": points("learning_rate")}, low=0.0),
        line_chart("Gradient norm", {"gradient norm": points("gradient_norm")}, low=0.0),
        line_chart("Seconds per step", {"seconds": points("seconds_per_step")}, low=0.0),
    ]
    if not any(charts):
        return page.section("Training", page.note(f"No metrics: {page.MISSING}."))
    return page.section("Training", f'<div class="charts">{"".join(charts)}</div>')


def _reproduce(workdir, config, evaluations, overrides):
    spec = f"configs/encoder.py:{config['preset']}" if config.get("preset") else "configs/encoder.py"
    options = shlex.join(["--config", spec, "--workdir", str(workdir), *(overrides or ())])
    lines = [f"python -m hilight_jax.train {options}", *(result["command"] for result in evaluations)]
    lines.append(shlex.join(["python", "-m", "hilight_jax.report", str(workdir)]))
    unknown = f"'{spec}' is no preset here: the run's own config file and options are needed, see the configuration."
    pretty = text(json.dumps(config, indent=2))
    return page.section(
        "How to get this again",
        f"<pre>{text(chr(10).join(lines))}</pre>",
        page.note(unknown) if overrides is None else "",
        f"<details><summary>The whole configuration</summary><pre>{pretty}</pre></details>",
    )
