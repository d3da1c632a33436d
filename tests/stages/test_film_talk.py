"""Films of coloured discs, in which every second shows other discs, watched by an encoder of colours."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from hilight_jax.billiards.encoding import encode_video
from hilight_jax.core.errors import DataError
from hilight_jax.data.films.pieces import parse_rule
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.video import decode
from hilight_jax.stages import film_talk, watched_films
from hilight_jax.stages.film_talk import FilmTalk, is_long
from hilight_jax.stages.watched_films import watch
from tests.data.clips import encode
from tests.evals.coloured_discs import SETS, SIDE, ColouredDiscs, ColourEncoder

SECOND = 10  # Frames.
GREEN, BLUE = SETS.index((1,)), SETS.index((2,))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A film whose second k shows the discs of set k."""
    frames = [decode(ColouredDiscs()[k].video, lambda n: uniform_indices(n, SECOND)) for k in range(len(SETS))]
    path = tmp_path_factory.mktemp("film") / "discs.mp4"
    path.write_bytes(encode_video(np.concatenate(frames), fps=SECOND))
    return path


@pytest.fixture(autouse=True)
def one_encoder(monkeypatch):
    monkeypatch.setattr(watched_films, "fingerprint", lambda params: "colours")


def encoder():
    made = ColourEncoder()
    made.params = {}
    return made


def watched(path, cache, rule="1"):
    return watch(encoder(), path, cache, parse_rule(rule))


def test_every_piece_is_encoded_as_a_clip_of_its_own(path, tmp_path):
    film = watched(path, tmp_path)
    assert [(piece.start, piece.end) for piece in film.pieces] == [(k, k + 1) for k in range(len(SETS))]
    assert film.frames.tolist() == [[SECOND * k, SECOND * k + SECOND - 1] for k in range(len(SETS))]
    assert film.seconds == len(SETS) and film.faults == ()
    clip = film.clip(GREEN, SIDE)
    assert clip.numbers.tolist() == film.frames[GREEN].tolist() and clip.times.tolist() == pytest.approx([1.0, 1.9])


def test_a_text_finds_its_piece(path, tmp_path):
    film = watched(path, tmp_path)
    best, *others = film.moments(encoder(), "look: the blue ball")
    assert (best.number, best.start, best.end, best.at) == (BLUE, float(BLUE), BLUE + 1.0, float(BLUE))
    assert best.score >= max(moment.score for moment in others)
    with pytest.raises(DataError, match="needs at least one word"):
        film.moments(encoder(), "?")


def test_a_film_is_read_once_by_its_content(path, tmp_path, monkeypatch):
    first = watched(path, tmp_path / "cache")
    monkeypatch.setattr(watched_films, "PieceReader", lambda *_, **__: pytest.fail("read again"))
    other = shutil.copy(path, tmp_path / "other.mp4")
    again = watched(tmp_path / "other.mp4", tmp_path / "cache")
    assert again.path.name == "other.mp4" and again.pieces == first.pieces and other
    for one, two in zip(first.clips, again.clips, strict=True):
        np.testing.assert_array_equal(one.embed, two.embed)
        np.testing.assert_array_equal(one.patches, two.patches)
    with pytest.raises(pytest.fail.Exception, match="read again"):
        watched(path, tmp_path / "cache", "2")  # Another rule cuts other pieces.


def test_films_used_longest_ago_are_forgotten(path, tmp_path, monkeypatch):
    for rule in ("1", "2"):
        watched(path, tmp_path, rule)
    folders = [folder for folder in tmp_path.iterdir() if folder.is_dir()]
    assert len(folders) == 2
    for folder in folders:
        os.utime(folder, (1, 1))
    watched(path, tmp_path, "1")  # It is used later than the other now.
    sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in folders}
    monkeypatch.setattr(watched_films, "MOST_BYTES", 2 * max(sizes.values()))
    watched(path, tmp_path, "3")
    monkeypatch.setattr(watched_films, "PieceReader", lambda *_, **__: pytest.fail("read again"))
    watched(path, tmp_path, "3")
    watched(path, tmp_path, "1")
    with pytest.raises(pytest.fail.Exception, match="read again"):
        watched(path, tmp_path, "2")


@pytest.mark.parametrize("name", ["about.json", "embeds.npy", "patches.npy", "frames.npy"])
def test_a_damaged_film_in_the_cache_is_made_anew(path, tmp_path, name):
    first = watched(path, tmp_path)
    (folder,) = (folder for folder in tmp_path.iterdir() if folder.is_dir())
    for content in (None, (folder / name).read_bytes()[:-40]):
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        again = watched(path, tmp_path)
        np.testing.assert_array_equal(again.clips[3].patches, first.clips[3].patches)
        assert again.pieces == first.pieces and sorted(file.name for file in folder.iterdir()) == sorted(NAMES)


NAMES = ("about.json", "embeds.npy", "patches.npy", "frames.npy")


def test_a_film_that_ends_early_is_watched_as_far_as_it_goes(path, tmp_path):
    content = encode(np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), np.uint8), container="matroska")
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    film = watched(tmp_path / "cut.mkv", tmp_path / "cache")
    assert 0 < film.seconds < 4 and film.faults
    (tmp_path / "none.mp4").write_bytes(b"no film")
    with pytest.raises(DataError, match=r"none.mp4: the file of 7 bytes is not a readable video"):
        watched(tmp_path / "none.mp4", tmp_path / "cache")
    with pytest.raises(DataError, match=r"gone.mp4: the file does not exist"):
        watched(tmp_path / "gone.mp4", tmp_path / "cache")


class Told:
    """A dialogue that answers with the numbers of the frames it was shown, and how often it was asked."""

    def __init__(self, *_):
        self.clips, self.asked = [], 0

    def add(self, clip):
        self.clips.append(clip)

    def ask(self, question, on_text=None):
        self.asked += 1
        return SimpleNamespace(text=f"{[int(clip.numbers[0]) for clip in self.clips]} {self.asked}")


@pytest.fixture
def talk(path, tmp_path, monkeypatch):
    monkeypatch.setattr(film_talk, "Dialogue", Told)

    def make(shots=1):
        data = SimpleNamespace(things=("the red ball", "the green ball", "the blue ball"), image_size=SIDE)
        return FilmTalk(watched(path, tmp_path), encoder(), None, data, None, shots)

    return make


def test_a_question_is_asked_about_the_shot_that_fits_it(talk):
    asked = talk()
    reply = asked.ask("look: the green ball")
    assert reply.text == f"[{SECOND * GREEN}] 1" and [moment.number for moment in reply.moments] == [GREEN]
    assert asked.ask("And then?").text == f"[{SECOND * GREEN}] 2", "it names nothing, and goes on"
    assert asked.ask("look: the blue ball").text == f"[{SECOND * BLUE}] 1", "another shot, a new conversation"
    asked.reset()
    assert asked.ask("And then?").text.endswith(" 1")


def test_several_shots_stand_in_the_order_of_time(talk):
    reply = talk(shots=3).ask("look: the blue ball")
    shown = [moment.number for moment in reply.moments]
    assert shown[0] == BLUE and len(shown) == 3
    assert reply.text == f"{[SECOND * number for number in sorted(shown)]} 1"


@pytest.mark.parametrize(
    "question",
    ["When is the green ball seen?", "when does the green ball move", "At what time was the green ball there?"],
)
def test_when_is_answered_by_times(talk, question):
    said = []
    reply = talk().ask(question, said.append)
    assert reply.reply is None and reply.text.startswith(f"At 00:0{GREEN}.0; less likely at ") and said == [reply.text]
    assert reply.moments[0].number == GREEN


def test_when_of_nothing_named_is_about_the_shots_before(talk):
    asked = talk()
    asked.ask("look: the green ball")
    assert asked.ask("When did that happen?").text == f"At 00:0{GREEN}.0."


def test_a_question_that_only_begins_with_when_goes_to_the_model(talk):
    assert talk().ask("When the green ball moves, which ball is hit next?").reply is not None


def test_only_long_videos_are_films(path, tmp_path, monkeypatch):
    assert not is_long(path) and not is_long(tmp_path / "gone.mp4")
    monkeypatch.setattr(film_talk, "LONG_SECONDS", 5.0)
    assert is_long(path)
