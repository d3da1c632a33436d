"""The report of a training run: `report/index.html` beside the checkpoints, figures always with their controls.

Read from the working directory: `config.json`, `metrics.jsonl` records (given), `evaluations/*.json` as `evaluate`
writes them, and `controls.json` if there is one:

```
{"date": "2026-11-22", "command": "make controls",
 "rows": [{"name": "no local loss", "runs": [{"seed": 0, "validation/text_to_video_r1": 0.2, ...}, null]}]}
```

A run that is null, a row without runs and a figure that a run lacks are shown as not run.
"""

import datetime
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.pages import page
from hilight_jax.pages.charts import line_chart, number
from hilight_jax.pages.examples import Example, draw_word, save_word
from hilight_jax.pages.page import share, text

DIRECTIONS = {"text_to_video": "text → video", "video_to_text": "video → text"}
RESCORINGS = {
    "plain": "cosine",
    "dsl_clip_vip": "dual softmax as in CLIP-ViP, R@1 / 5 / 10",
    "dsl_both_ways": "over each direction's queries, R@1 / 5 / 10",
}
CONTROL_COLUMNS = {
    "validation/text_to_video_r1": "R@1",
    "validation/text_to_video_r5": "R@5",
    "validation/ball_pointing": "pointing",
    "validation/ball_area_chance": "area chance",
    "validation/ball_random_ball": "random ball",
    "validation/ball_any_ball": "on any ball",
    "unseen/text_to_video_r1": "R@1, unseen",
    "unseen/ball_pointing": "pointing, unseen",
}
_NOT_LOSSES = ("step", "learning_rate", "gradient_norm", "seconds_per_step", "data_wait_share")


def write_report(workdir: Path, records: Sequence[Mapping[str, float]], examples: Sequence[Example] = ()) -> Path:
    """Writes `workdir/report/` anew and returns the path of its index.html.

    Args:
      workdir: the working directory of a run.
      records: its metrics, in order; each has 'step'.
      examples: held-out clips to show, every word with its true place.
    """
    folder = workdir / "report"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = _read(workdir / "config.json") or {}
    evaluations = [_read(path) for path in sorted((workdir / "evaluations").glob("*.json"))]
    # The held-out clips of the training world come first.
    evaluations.sort(key=lambda result: (result["split"] != "validation", result["name"]))
    body = [
        _head(workdir, config, records, evaluations),
        _examples(folder, examples),
        _retrieval(evaluations),
        _grounding(evaluations),
        _curves(records),
        _controls(_read(workdir / "controls.json")),
        _reproduce(workdir, config, evaluations),
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
        items.append(("Text → video, R@1", share(ranks["R@1"]), chance))
        ball = result["grounding"]["classes"].get("ball")
        if ball:
            controls = f"random patch {share(ball['area_chance'])}, random ball {share(ball['random_ball'])}"
            items.append(("Pointing at the named ball", share(ball["pointing"]), f"{result['split']}: {controls}"))
    if not items:
        items = [("Evaluation", "–", page.MISSING)]
    name = f"{config.get('name', workdir.name)} · {config.get('preset', 'own config')}"
    lead = f"CLIP-ViP+ video encoder, step {step}{planned}, working directory <code>{text(workdir)}</code>."
    return f'<header>\n<h1>{text(name)}</h1>\n<p class="lead">{lead}</p>\n</header>\n{page.tiles(items)}'


def _examples(folder, examples):
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
    )
    return page.section("What the model looks at", page.note(words), f'<div class="clips">{"".join(clips)}</div>')


def _retrieval(evaluations):
    if not evaluations:
        return page.section("Retrieval", page.note(f"Evaluation: {page.MISSING}."))
    rows = []
    for result in evaluations:
        for direction, title in DIRECTIONS.items():
            plain, *rescored = (result["retrieval"][way][direction] for way in RESCORINGS)
            recalls = [share(plain[f"R@{k}"], 3) for k in (1, 5, 10)]
            ends = [f"{plain['median_rank']:g}", f"{plain['mean_rank']:.1f}"]
            beside = [" / ".join(share(ranks[f"R@{k}"]) for k in (1, 5, 10)) for ranks in rescored]
            rows.append(
                [f"{text(result['name'])}, {title}", f"<strong>{recalls[0]}</strong>", *recalls[1:], *ends, *beside]
            )
    header = ("clips", "R@1", "R@5", "R@10", "median rank", "mean rank", *list(RESCORINGS.values())[1:])
    sizes = "; ".join(
        f"{r['name']}: {r['retrieval']['num_texts']} captions of {r['retrieval']['num_videos']} clips"
        for r in evaluations
    )
    rules = (
        f"{sizes}. Ties count against the model. Dual softmax needs all queries at once, which a search engine does "
        "not have: compare models by the plain cosine."
    )
    return page.section("Retrieval", page.table(header, rows), page.note(rules))


def _grounding(evaluations):
    if not any(result["grounding"]["classes"] for result in evaluations):
        return page.section("Grounding", page.note(f"Pointing: {page.MISSING}, or the data names no visible thing."))
    header = (
        "word", "pointing", "random patch", "random ball", "shuffled word", "on any ball",
        "soft IoU", "IoU uniform", "IoU shuffled", "questions",
    )  # fmt: skip
    rows, per_thing = [], []
    for result in evaluations:
        for kind, group in result["grounding"]["classes"].items():
            low, high = group["interval"]
            pointing = f"<strong>{share(group['pointing'], 3)}</strong> <small>{share(low)}–{share(high)}</small>"
            names = ("area_chance", "random_ball", "shuffled_word", "any_ball", "soft_iou", "soft_iou_uniform")
            figures = [share(group[name], 3) for name in (*names, "soft_iou_shuffled")]
            rows.append([f"{text(kind)}, {text(result['name'])}", pointing, *figures, str(group["questions"])])
        for thing, group in result["grounding"]["objects"].items():
            cells = [share(group[name], 3) for name in ("pointing", "area_chance", "random_ball", "shuffled_word")]
            per_thing.append([f"{text(thing)}, {text(result['name'])}", *cells, str(group["questions"])])
    rules = (
        "A question is one word in one frame in which the named thing can be seen; it is answered when the most "
        "similar patch lies on the thing (centres at most 0.75 patch apart in x and y). Beside it, what a random "
        "patch, a random visible ball, and the map of another word of the same kind would score, and how often the "
        "peak lies on some ball. Small figures: 95 % bootstrap interval over clips."
    )
    things = page.table((*header[:5], "questions"), per_thing)
    more = f"<details><summary>Every named thing</summary>{things}</details>"
    return page.section("Grounding", page.table(header, rows), page.note(rules), more)


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
    recalls = {
        f"{split} R@{k}": points(f"{split}/text_to_video_r{k}")
        for split in ("validation", "unseen")
        for k in (1, 5, 10)
        if f"{split}/text_to_video_r{k}" in figures
    }
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


def _controls(controls: Mapping[str, Any] | None):
    if controls is None:
        return page.section("Control runs", page.note(f"Control runs: {page.MISSING}; `make controls` trains them."))
    done = [run for row in controls["rows"] for run in row["runs"] if run]
    columns = {key: title for key, title in CONTROL_COLUMNS.items() if any(key in run for run in done)}
    rows = []
    for row in controls["rows"]:
        cells = [_seeds(row["runs"], key) for key in columns or CONTROL_COLUMNS]
        rows.append([text(row["name"]), *cells])
    header = ("run", *(columns or CONTROL_COLUMNS).values())
    words = f"One figure per seed. Made {controls['date']} with: {controls['command']}"
    return page.section("Control runs", page.table(header, rows), page.note(words))


def _seeds(runs, key):
    cells = [share(run[key]) if run and key in run else page.MISSING for run in runs]
    return " / ".join(cells) if any(cell != page.MISSING for cell in cells) else None


def _reproduce(workdir, config, evaluations):
    spec = f"configs/encoder.py:{config['preset']}" if config.get("preset") else "configs/encoder.py"
    train = f"python -m hilight_jax.train --config {spec} --workdir {workdir}"
    lines = [train, *(result["command"] for result in evaluations), f"python -m hilight_jax.report {workdir}"]
    pretty = text(json.dumps(config, indent=2))
    return page.section(
        "How to get this again",
        f"<pre>{text(chr(10).join(lines))}</pre>",
        f"<details><summary>The whole configuration</summary><pre>{pretty}</pre></details>",
    )


def _read(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
