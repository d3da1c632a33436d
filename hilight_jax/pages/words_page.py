"""The page of one video and one text: a GIF per word, and every word over every frame."""

from pathlib import Path

from hilight_jax.pages import heatmaps, page
from hilight_jax.pages.examples import Example, draw_word, save_word
from hilight_jax.pages.page import text


def write_words_page(folder: Path, example: Example, similarity: float | None = None) -> Path:
    """Writes `index.html`, `word-NN.gif` and `word-NN.jpg` (all frames side by side) and returns the page's path.

    Args:
      folder: made when missing; files of the same names are replaced.
      example: the clip, its text and a map for every word.
      similarity: cosine of the whole clip and the whole text, shown when given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cards, strips = [], [_strip(folder, "frames", "the frames", heatmaps.enlarge(example.frames))]
    for i, word in enumerate(example.words):
        name, title = f"word-{i:02}", text(example.title(word))
        frames = draw_word(example, word)
        save_word(folder / f"{name}.gif", frames)
        cards.append(
            f'<img src="{name}.gif" width="{frames.shape[2]}" height="{frames.shape[1]}" loading="lazy" alt="{title}">'
        )
        strips.append(_strip(folder, name, example.title(word), heatmaps.overlay(example.frames, word.maps)))
    cosine = "" if similarity is None else f" Cosine of the whole clip and the whole text: {similarity:.3f}."
    words = (
        f"{text(example.name)}.{cosine} Bright patches resemble the word most; each word's colours run from its median "
        "patch of the clip to its best one, so words cannot be compared with each other by brightness."
    )
    body = [
        f"<header><h1>{text(example.caption)}</h1><p class='lead'>{words}</p></header>",
        page.section("Word by word", f'<div class="examples">{"".join(cards)}</div>'),
        page.section("Every word over every frame", *strips),
    ]
    path = folder / "index.html"
    path.write_text(page.render(example.caption, body), encoding="utf-8")
    return path


def _strip(folder, name, title, frames):
    heatmaps.save_strip(folder / f"{name}.jpg", frames)
    return (
        f'<div class="word"><h3>{text(title)}</h3><div class="strip"><img src="{name}.jpg" loading="lazy" '
        f'alt="{text(title)} over all frames" height="150"></div></div>'
    )
