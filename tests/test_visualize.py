"""Words merged from tokens, and the command on any video."""

import json
import types

import numpy as np
import pytest
from PIL import Image

import hilight_jax
from hilight_jax import visualize
from hilight_jax.billiards.encoding import encode_video
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.evals.example_clips import held_out, whole_words
from tests.evals.coloured_discs import ColouredDiscs, ColourEncoder


def words_of(text, length=77):
    tokens = ClipTokenizer(length)(text)
    return [(text[w.start : w.end], len(w.tokens)) for w in whole_words(text, tokens)]


def test_tokens_are_merged_into_whole_words():
    assert words_of("The red 3-ball, cuegripping!") == [("The", 1), ("red", 1), ("3-ball", 3), ("cuegripping", 3)]
    assert words_of("player's cue") == [("player's", 2), ("cue", 1)]


def test_words_past_the_end_of_a_cut_text_are_left_out():
    assert words_of("one two three four", length=4) == [("one", 1), ("two", 1)]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    model = types.SimpleNamespace(encoder=ColourEncoder())
    monkeypatch.setattr(hilight_jax, "load", lambda workdir, which: model)
    frames = np.zeros((5, 40, 72, 3), np.uint8)
    frames[:, 0:10, 54:72, 0] = 250  # the upper right sixteenth is red
    (tmp_path / "a.mp4").write_bytes(encode_video(frames, fps=5, watchable=True))

    def call(*arguments, video="a.mp4", text="a red ball"):
        video = str(tmp_path / video)
        visualize.main(["--checkpoint", str(tmp_path), "--video", video, "--text", text, *arguments])
        return capsys.readouterr().out

    return call


def test_a_gif_per_word_and_a_page_with_all_words(run, tmp_path):
    result = json.loads(run("--json").splitlines()[-1])
    folder = tmp_path / "visualize" / "a"
    assert result["words"] == ["a", "red", "ball"] and result["frames"] == 2
    assert result["page"] == str(folder / "index.html")
    for number in range(3):
        with Image.open(folder / f"word-{number:02}.gif") as gif:
            assert gif.n_frames == 2
        assert (folder / f"word-{number:02}.jpg").is_file()
    html = (folder / "index.html").read_text()
    assert html.count(".gif") == 3 and html.count(".jpg") == 4 and "http" not in html


def test_the_word_lights_up_what_it_names_in_the_videos_own_shape(run, tmp_path):
    run("--out", str(tmp_path / "out"))
    with Image.open(tmp_path / "out" / "word-01.jpg") as strip:
        first = np.asarray(strip.convert("RGB"), int)[:, : strip.width // 2 - 1]
    heat = first.sum(-1)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert row < heat.shape[0] / 4 and column > heat.shape[1] * 3 / 4
    assert heat.shape[1] / heat.shape[0] == pytest.approx(72 / 40, abs=0.05)


def test_bad_input_is_one_sentence(run, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(DataError, match="empty.mp4: the file is empty"):
        run(video="empty.mp4")
    with pytest.raises(DataError, match="does not exist"):
        run(video="none.mp4")
    with pytest.raises(UserError, match="at least one word"):
        run(text=" ...")


def test_a_held_out_clip_that_cannot_be_decoded_is_named():
    with pytest.raises(DataError, match="coloured discs, clip discs/1 cannot be drawn: the file is empty"):
        held_out(ColourEncoder(), ColouredDiscs(broken=[1]))


def test_held_out_examples_carry_the_true_places():
    examples = held_out(ColourEncoder(), ColouredDiscs(), num_clips=5)
    assert [example.name for example in examples] == [f"discs/{i}" for i in range(5)]
    assert examples[0].notes == ["0.0 s", "0.5 s"]
    for example in examples:
        for word in example.words:
            colour = example.title(word).split()[1]
            assert colour in ("red", "green", "blue") and word.maps.shape == (2, 4, 4)
            for frame in range(2):
                row, column = np.unravel_index(word.maps[frame].argmax(), (4, 4))
                assert (word.place.centres[frame] // 8).tolist() == [column, row]
