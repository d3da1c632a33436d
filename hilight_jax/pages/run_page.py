"""The report of a training run: `report/index.html` beside the checkpoints, figures always with their controls.

Read from the working directory: `config.json`, `metrics.jsonl` records (given), `evaluations/*.json` as `evaluate`
writes them, and the table of the control runs (given, see `ablation_table.py`), if there is one.
"""

import datetime
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.pages import ablation_table, curves, evaluation_tables, page, reproduction
from hilight_jax.pages.charts import line_chart, number
from hilight_jax.pages.examples import Example, draw_word, save_word
from hilight_jax.pages.page import share, text
from hilight_jax.pages.results import read_result


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
      controls: the table of `python -m hilight_jax.ablate losses`, see `ablation_table.py`.
      drawn_from: the checkpoint that drew the examples, in words.
      overrides: options that turn the preset's own configuration into that of the run; None when they are not known.
    """
    config = read_result(workdir / "config.json") or {}
    evaluations = reproduction.read_evaluations(workdir)
    folder = workdir / "report"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    body = [
        _head(workdir, config, records, evaluations),
        _examples(folder, examples, drawn_from),
        evaluation_tables.retrieval(evaluations),
        evaluation_tables.grounding(evaluations),
        curves.section(records, _charts(records)),
        ablation_table.section(controls),
        reproduction.section(workdir, config, evaluations, overrides),
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


def _charts(records):
    """Recalls and pointing over the steps."""
    figures = {name for record in records for name in record}
    found = (re.fullmatch(r"(\w+)/text_to_video_r(\d+)", name) for name in figures)
    shown = sorted((match for match in found if match), key=lambda match: (match[1] != "validation", int(match[2])))
    recalls = {f"{match[1]} R@{match[2]}": curves.points(records, match[0]) for match in shown}
    pointing = {
        name.removesuffix("_pointing").replace("/", ", "): curves.points(records, name)
        for name in sorted(figures)
        if name.endswith("_pointing")
    }
    chance = [record["validation/ball_area_chance"] for record in records if "validation/ball_area_chance" in record]
    return [
        line_chart("Retrieval, text → video", recalls, low=0.0),
        line_chart("Pointing", pointing, {"random patch": chance[-1]} if chance else {}, low=0.0),
    ]
