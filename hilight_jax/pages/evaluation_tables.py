"""The sections of the report that show what `evaluate` wrote: retrieval and grounding, figures with their controls."""

from collections.abc import Mapping, Sequence
from typing import Any

from hilight_jax.pages import page
from hilight_jax.pages.page import share, text

Results = Sequence[Mapping[str, Any]]

DIRECTIONS = {"text_to_video": "text → video", "video_to_text": "video → text"}
RESCORINGS = {"dsl_clip_vip": "dual softmax as in CLIP-ViP", "dsl_both_ways": "over each direction's queries"}


def checkpoint(result: Mapping[str, Any]) -> str:
    """Whose figures these are: 'step 500, latest'."""
    step = result.get("step")
    return f"step {'unknown' if step is None else step}, {result.get('which', 'unknown')}"


def maps(result: Mapping[str, Any]) -> str:
    """The levels that the words' maps are made of: 'embedding'."""
    return " + ".join(result.get("map_levels", ())) or "unknown"


def retrieval(results: Results) -> str:
    """Recalls and ranks of every evaluation, plain and rescored."""
    if not results:
        return page.section("Retrieval", page.note(f"Evaluation: {page.MISSING}."))
    recalls = [name for name in results[0]["retrieval"]["plain"]["text_to_video"] if name.startswith("R@")]
    rows = []
    for result in results:
        for direction, title in DIRECTIONS.items():
            plain, *rescored = (result["retrieval"][way][direction] for way in ("plain", *RESCORINGS))
            first, *others = (share(plain[name], 3) for name in recalls)
            ends = [f"{plain['median_rank']:g}", f"{plain['mean_rank']:.1f}"]
            beside = [" / ".join(share(ranks[name]) for name in recalls) for ranks in rescored]
            rows.append([f"{text(result['name'])}, {title}", f"<strong>{first}</strong>", *others, *ends, *beside])
    rescorings = (f"{title}, {' / '.join(recalls)}" for title in RESCORINGS.values())
    header = ("clips", *recalls, "median rank", "mean rank", *rescorings)
    sizes = "; ".join(
        f"{r['name']}: {r['retrieval']['num_texts']} captions of {r['retrieval']['num_videos']} clips, {checkpoint(r)}"
        for r in results
    )
    rules = (
        f"{sizes}. Ties count against the model. Dual softmax needs all queries at once, which a search engine does "
        "not have: compare models by the plain cosine."
    )
    return page.section("Retrieval", page.table(header, rows), page.note(rules), *map(_skipped, results))


def _skipped(result):
    """Clips that were left out, and why."""
    clips = result.get("skipped", ())
    if not clips:
        return ""
    items = "".join(f"<li>{text(clip['id'])}: {text(clip['reason'])}</li>" for clip in clips)
    summary = f"{text(result['name'])}: {len(clips)} clips left out"
    return f"<details><summary>{summary}</summary><ul>{items}</ul></details>"


def grounding(results: Results) -> str:
    """Pointing and overlap of every class of words, of every thing, and of every tapped level."""
    if not any(result["grounding"]["classes"] for result in results):
        return page.section("Grounding", page.note(f"Pointing: {page.MISSING}, or the data names no visible thing."))
    header = (
        "word", "pointing", "random patch", "random ball", "shuffled word", "on any ball",
        "soft IoU", "IoU uniform", "IoU shuffled", "questions",
    )  # fmt: skip
    rows, per_thing = [], []
    for result in results:
        for kind, group in result["grounding"]["classes"].items():
            low, high = group["interval"]
            pointing = f"<strong>{share(group['pointing'], 3)}</strong> <small>{share(low)}–{share(high)}</small>"
            names = ("area_chance", "random_ball", "shuffled_word", "any_ball", "soft_iou", "soft_iou_uniform")
            figures = [share(group[name], 3) for name in (*names, "soft_iou_shuffled")]
            title = f"{text(kind.replace('_', ' '))}, {text(result['name'])}"
            rows.append([title, pointing, *figures, str(group["questions"])])
        for thing, group in result["grounding"]["objects"].items():
            cells = [share(group[name], 3) for name in ("pointing", "area_chance", "random_ball", "shuffled_word")]
            per_thing.append([f"{text(thing)}, {text(result['name'])}", *cells, str(group["questions"])])
    rules = (
        "A question is one word in one frame in which the named thing can be seen; it is answered when the most "
        "similar patch lies on the thing (centres at most 0.75 patch apart in x and y). Beside it, what a random "
        "patch, a random visible ball, and the map of another word of the same kind would score, and how often the "
        "peak lies on some ball. 'ball' is the object balls; the white cue ball, which is in nearly every clip, stands "
        "by itself. Cushions are not asked about: they are no one place. Small figures: 95 % bootstrap interval over "
        "clips."
    )
    things = page.table((*header[:5], "questions"), per_thing)
    more = f"<details><summary>Every named thing</summary>{things}</details>"
    return page.section("Grounding", page.table(header, rows), page.note(rules), _levels(results), more)


def _levels(results):
    """Pointing by the maps of each tapped level alone, where there are several."""
    tapped = [result for result in results if result["grounding"].get("levels")]
    if not tapped:
        return page.note("; ".join(f"{result['name']}: maps of the level {maps(result)}" for result in results) + ".")
    names = list(tapped[0]["grounding"]["levels"])
    rows = []
    for result in tapped:
        levels = result["grounding"]["levels"]
        cells = [share(levels[name], 3) if name in levels else None for name in names]
        controls = [share(result["grounding"]["classes"]["ball"][name], 3) for name in ("area_chance", "random_ball")]
        rows.append([f"ball, {text(result['name'])}", text(maps(result)), *cells, *controls])
    header = ("pointing by one level", "the maps above are of", *names, "random patch", "random ball")
    return page.table(header, rows)
