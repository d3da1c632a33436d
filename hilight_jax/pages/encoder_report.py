"""The report of an encoder's run: example clips, retrieval, grounding and control runs, figures with their controls."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.pages import ablation_table, heatmaps, page
from hilight_jax.pages.charts import line_chart, number
from hilight_jax.pages.page import share, text
from hilight_jax.pages.report import Report, Results, checkpoint, examples_section, left_out, points
from hilight_jax.pages.word_maps import Example, draw_word

_DIRECTIONS = {"text_to_video": "text → video", "video_to_text": "video → text"}
_RESCORINGS = {"dsl_clip_vip": "dual softmax as in CLIP-ViP", "dsl_both_ways": "over each direction's queries"}


def write_report(
    workdir: Path,
    records: Sequence[Mapping[str, float]],
    examples: Sequence[Example] = (),
    controls: Mapping[str, Any] | None = None,
    drawn_from: str = "",
    overrides: Sequence[str] | None = (),
) -> Path:
    """Writes the report of an encoder's run anew and returns the path of its index.html; see `Report`.

    The checkpoint `drawn_from` drew the held-out `examples`, every word with its true place; `controls` is the table of
    `python -m hilight_jax.ablate losses`, see `ablation_table.py`.
    """
    report = Report(workdir, records, overrides)
    results = [result for result in report.evaluations if "retrieval" in result]
    annotated = _annotated([result for result in report.evaluations if "words" in result])
    shown = _examples(report.folder, examples, drawn_from)
    return report.write(
        "CLIP-ViP+ video encoder",
        _tiles(results),
        before=[shown, _retrieval(results), _grounding(results), *annotated],
        charts=_charts(records),
        after=[ablation_table.section(controls)],
    )


def _tiles(evaluations):
    items = []
    for result in evaluations:
        videos, ranks = result["retrieval"]["num_videos"], result["retrieval"]["plain"]["text_to_video"]
        chance = f"{result['split']}: {videos} clips, chance {number(1 / videos)}, R@5 {share(ranks['R@5'])}"
        helped = result["retrieval"].get("words", {}).get("text_to_video")
        words = f", with words {share(helped['R@1'], 3)}" if helped else ""
        items.append(("Text → video, R@1", share(ranks["R@1"]), f"{chance}{words}, {checkpoint(result)}"))
        if ball := result["grounding"]["classes"].get("ball"):
            patch, random = share(ball["area_chance"]), share(ball["random_ball"])
            controls = f"random patch {patch}, random ball {random}, maps: {_maps(result)}"
            items.append(("Pointing at the named ball", share(ball["pointing"]), f"{result['split']}: {controls}"))
    return items


def _examples(folder, examples, drawn_from):
    cards = []
    for i, example in enumerate(examples):
        pictures = []
        for j, word in enumerate(example.words):
            path, alternative = folder / f"clip{i}-word{j}.gif", f"similarity of {example.title(word)} to every patch"
            pictures.append(heatmaps.save_clip(path, draw_word(example, word), alternative))
        cards.append(
            f'<div class="clip"><p>{example.marked_caption()}</p><div class="pictures">{"".join(pictures)}</div>'
            f'<p class="note">{text(example.name)}</p></div>'
        )
    words = (
        ". Bright patches resemble the word most; the ring is where the named thing truly is (shown only while it can "
        "be seen; the model never saw it)."
    )
    return examples_section("What the model looks at", words, cards, drawn_from)


def _retrieval(results: Results) -> str:
    """Recalls and ranks of every evaluation, plain and rescored."""
    if not results:
        return page.section("Retrieval", page.note(f"Evaluation: {page.MISSING}."))
    recalls = [name for name in results[0]["retrieval"]["plain"]["text_to_video"] if name.startswith("R@")]
    rows = []
    for result in results:
        for direction, title in _DIRECTIONS.items():
            found = {way: ranks[direction] for way, ranks in result["retrieval"].items() if isinstance(ranks, Mapping)}
            for way in ("plain", "words"):
                if way in found:
                    first, *others = (share(found[way][name], 3) for name in recalls)
                    ends = [f"{found[way]['median_rank']:g}", f"{found[way]['mean_rank']:.1f}"]
                    beside = (" / ".join(share(found[dsl][name]) for name in recalls) for dsl in _RESCORINGS)
                    beside = beside if way == "plain" else ["" for _ in _RESCORINGS]
                    named = f"{text(result['name'])}, {title}{', with words' if way == 'words' else ''}"
                    rows.append([named, f"<strong>{first}</strong>", *others, *ends, *beside])
    rescorings = (f"{title}, {' / '.join(recalls)}" for title in _RESCORINGS.values())
    header = ("clips", *recalls, "median rank", "mean rank", *rescorings)
    sizes = "; ".join(
        f"{r['name']}: {r['retrieval']['num_texts']} captions of {r['retrieval']['num_videos']} clips, {checkpoint(r)}"
        for r in results
    )
    helped = next((r["retrieval"] for r in results if "words" in r["retrieval"]), None)
    listed = (helped and helped["shortlist"]) or "all"
    weight = f" With words: the best patch of each named thing counts {helped['word_weight']:g}" if helped else ""
    weight += f" beside the similarity, both standardised over the candidates ({listed} of them)." if helped else ""
    rules = (
        f"{sizes}. Ties count against the model.{weight} Dual softmax needs all queries at once, which a search engine "
        "does not have: compare models by the plain cosine."
    )
    parts = (page.table(header, rows), page.note(rules), _swaps(results), _phrases(results), *map(_skipped, results))
    return page.section("Retrieval", *parts)


def _swaps(results: Results) -> str:
    """Captions against false ones that differ in two balls, where the data has such."""
    rows = []
    for result in results:
        if swaps := result.get("swaps"):
            right = _with_interval(swaps["right"], swaps["interval"])
            cells = [right, "0.500", share(swaps["other_clip"], 3), str(swaps["pairs"]), str(swaps["clips"])]
            rows.append([text(result["name"]), *cells])
    if not rows:
        return ""
    rules = (
        "A swap is the caption with two balls exchanged in what it tells, which makes it false; the caption is right "
        "when its cosine with its clip is higher. Other clip: the same pairs beside another clip, where a half means "
        "that the texts alone give nothing away. Small figures: 95 % bootstrap interval over clips."
    )
    header = ("captions above their swaps", "right", "chance", "other clip", "pairs", "clips")
    return page.table(header, rows) + page.note(rules)


def _phrases(results: Results) -> str:
    """Captions that differ in an abstract phrase alone, where the data has such."""
    rows = []
    for result in results:
        if phrases := result.get("abstract_phrases"):
            right = _with_interval(phrases["right"], phrases["interval"])
            figures = (share(phrases[name], 3) for name in ("most_frequent", "R@1", "R@1_rephrased"))
            rows.append([text(result["name"]), right, *figures, str(phrases["captions"]), str(phrases["phrases"])])
    if not rows:
        return ""
    rules = (
        "An abstract phrase is a caption's last sentence that names nothing visible. Right: the clip lies nearest to "
        "the caption with its own phrase, among captions that are alike but for it; most frequent: always the same "
        "phrase. R@1, next phrase: every caption ends with another phrase than its own. Small figures: 95 % bootstrap "
        "interval over clips."
    )
    header = ("abstract phrases", "right", "most frequent", "R@1", "R@1, next phrase", "captions", "phrases")
    return page.table(header, rows) + page.note(rules)


def _annotated(results: Results) -> list[str]:
    """Pointing on annotated frames, where that was evaluated."""
    rows = []
    for result in results:
        for word, figures in result["words"].items():
            right = _with_interval(figures["pointing"], figures["interval"])
            cells = [right, share(figures["area_chance"], 4), f"{figures['median_error']:.1f}", str(figures["places"])]
            rows.append([text(result["name"]), text(word), *cells])
    if not rows:
        return []
    header = ("annotation", "word", "found", "area chance", "median error, px", "places")
    rules = (
        "Found: in the annotated box, or at most 0.75 patch from the annotated point. Small figures: 95 % over videos."
    )
    return [page.section("Annotated frames", page.table(header, rows), page.note(rules))]


def _with_interval(figure: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"<strong>{share(figure, 3)}</strong> <small>{share(low)}–{share(high)}</small>"


def _skipped(result):
    """Clips that were left out, with the reasons."""
    clips = [f"{clip['id']}: {clip['reason']}" for clip in result.get("skipped", ())]
    return left_out(f"{result['name']}: {len(clips)} clips left out", clips)


def _grounding(results: Results) -> str:
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
            pointing = _with_interval(group["pointing"], group["interval"])
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
        return page.note("; ".join(f"{result['name']}: maps of the level {_maps(result)}" for result in results) + ".")
    names = list(tapped[0]["grounding"]["levels"])
    rows = []
    for result in tapped:
        levels = result["grounding"]["levels"]
        cells = [share(levels[name], 3) if name in levels else None for name in names]
        controls = [share(result["grounding"]["classes"]["ball"][name], 3) for name in ("area_chance", "random_ball")]
        rows.append([f"ball, {text(result['name'])}", text(_maps(result)), *cells, *controls])
    header = ("pointing by one level", "the maps above are of", *names, "random patch", "random ball")
    return page.table(header, rows)


def _maps(result: Mapping[str, Any]) -> str:
    """The levels that words' maps are made of: 'embedding'."""
    return " + ".join(result.get("map_levels", ())) or "unknown"


def _charts(records):
    """Recalls and pointing over the steps."""
    figures = {name for record in records for name in record}
    found = (re.fullmatch(r"(\w+?)/text_to_video(_words)?_r(\d+)", name) for name in figures)
    shown = sorted(
        (match for match in found if match), key=lambda match: (match[1] != "validation", bool(match[2]), int(match[3]))
    )
    recalls = {
        f"{match[1]} R@{match[3]}{', with words' if match[2] else ''}": points(records, match[0]) for match in shown
    }
    pointing = {
        name.removesuffix("_pointing").replace("/", ", "): points(records, name)
        for name in sorted(figures)
        if name.endswith("_pointing")
    }
    chance = [record["validation/ball_area_chance"] for record in records if "validation/ball_area_chance" in record]
    swaps = {
        name.removesuffix("_right").replace("/", ", "): points(records, name)
        for name in sorted(figures)
        if name.endswith("/swaps_right")
    }
    return [
        line_chart("Retrieval, text → video", recalls, low=0.0),
        line_chart("Captions above their swaps", swaps, {"chance": 0.5}),
        line_chart("Pointing", pointing, {"random patch": chance[-1]} if chance else {}, low=0.0),
    ]
