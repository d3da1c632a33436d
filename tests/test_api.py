"""Python in five lines: what a loaded run gives, and what it refuses."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import hilight_jax
from hilight_jax.core.errors import CheckpointError, ConfigError, DataError
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.generation.locating import USUAL_THRESHOLD
from tests.serving.workdirs import make_chat_model, make_encoder, write_video


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    make_chat_model(root / "align", make_encoder(root / "encoder"))
    write_video(root / "a.mp4", seed=0)
    write_video(root / "b.mp4", seed=1)
    return root


@pytest.fixture(scope="module")
def encoder(root):
    return hilight_jax.load(root / "encoder")


@pytest.fixture(scope="module")
def model(root):
    return hilight_jax.load(str(root / "align"))


def asked(text, *videos):
    return {"role": "user", "text": text, "videos": list(videos)}


def test_vectors_have_length_one_and_share_a_space(encoder, root):
    video, text = encoder.encode_video(root / "a.mp4"), encoder.encode_text("the red ball")
    assert video.shape == text.shape == (16,) and video.dtype == text.dtype == np.float32
    np.testing.assert_allclose([video @ video, text @ text], 1, atol=1e-6)
    np.testing.assert_array_equal(video, encoder.encode_video((root / "a.mp4").read_bytes()))
    assert not np.allclose(video, encoder.encode_video(root / "b.mp4"))


def test_a_search_orders_videos_by_their_score(encoder, root):
    videos = [root / "a.mp4", (root / "b.mp4").read_bytes(), encoder.encode_clip(root / "a.mp4")]
    found = encoder.search("the red ball", videos)
    assert sorted(each.number for each in found) == [0, 1, 2]
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    cosines = [encoder.encode_video(root / name) @ encoder.encode_text("the red ball") for name in ("a.mp4", "b.mp4")]
    similarity = {each.number: each.similarity for each in found}
    np.testing.assert_allclose([similarity[0], similarity[1], similarity[2]], [*cosines, cosines[0]], atol=1e-6)
    plain = encoder.search("the red ball", videos, words=False)
    assert all(each.score == each.similarity for each in plain)
    assert encoder.search("the red ball", videos, words=True, shortlist=1)[0].number == plain[0].number
    assert [each.score for each in found] != [each.score for each in plain]


def test_what_cannot_be_searched_is_refused(encoder, root):
    with pytest.raises(DataError, match="at least one word"):
        encoder.search("...", [root / "a.mp4"])
    with pytest.raises(DataError, match="there is no clip"):
        encoder.search("a ball", [])


def test_a_chat_model_embeds_with_the_encoder_that_it_was_built_on(encoder, model, root):
    np.testing.assert_array_equal(model.encode_video(root / "a.mp4"), encoder.encode_video(root / "a.mp4"))
    np.testing.assert_array_equal(model.encode_text("a ball"), encoder.encode_text("a ball"))


def test_the_last_turn_is_answered_piece_by_piece(model, root):
    pieces = []
    turns = [asked("Is the red ball potted?", root / "a.mp4"), {"role": "model", "text": "No."}, asked("And now?")]
    answer = model.chat(turns, max_new_tokens=6, on_text=pieces.append)
    assert answer == "".join(pieces) and answer == model.chat(turns, max_new_tokens=6)


def test_a_conversation_without_videos_is_text_alone(model):
    assert isinstance(model.chat([{"text": "Hello."}], max_new_tokens=2), str)


def test_marks_put_videos_where_they_stand(model, root):
    first = model.chat([asked("Here: <video> Is a ball potted?", root / "a.mp4")], max_new_tokens=4)
    assert isinstance(first, str)
    with pytest.raises(DataError, match="2 <video> marks for 1 video"):
        model.chat([asked("<video> or <video>?", root / "a.mp4")])
    with pytest.raises(DataError, match="1 <video> mark for 2 videos"):
        model.chat([asked("<video>?", root / "a.mp4", root / "b.mp4")])


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "nothing to answer"),
        ([{"role": "model", "text": "Yes."}], "nothing to answer"),
        (["Is it red?"], "a turn is a dict with a text"),
        ([{"text": "a", "video": "a.mp4"}], "Did you mean 'videos'"),
        ([{"text": "a", "videos": "a.mp4"}], "give a list of paths"),
        ([{"text": "a", "videos": [3]}], "give a list of paths"),
        ([{"text": "a"}, {"role": "model", "text": "b", "videos": ["a.mp4"]}, {"text": "c"}], "only a user's turn"),
        ([{"text": "a"}, {"text": "b"}], "one-sided"),
        ([{"role": "assistant", "text": "a"}, {"text": "b"}], "roles: user, model"),
        ([{"text": "a", "videos": ["none.mp4"]}], "none.mp4: the file does not exist"),
        ([{"text": "word " * 1200}], "do not fit into the context of 1024"),
    ],
)
def test_what_is_no_conversation_is_refused(model, turns, message):
    with pytest.raises(DataError, match=message):
        model.chat(turns)


def test_a_reply_carries_its_confidence_at_the_temperature_that_was_fitted(model, root, tmp_path):
    def ask(model):
        talk = model.dialogue(max_new_tokens=6)
        talk.show(root / "a.mp4")
        return talk.ask("Is it?")

    def evaluated(name, split, step, temperature):
        result = {"name": name, "split": split, "step": step, "calibration": {"temperature": temperature}}
        (tmp_path / "align" / "evaluations" / f"{name}.json").write_text(json.dumps(result))

    plain = ask(model)
    assert model.confidence_temperature is None and len(plain.log_probs) - len(plain.ids) in (0, 1)
    assert plain.confidence == pytest.approx(np.exp(plain.log_probs.sum())) and 0 < plain.confidence < 1
    shutil.copytree(root / "align", tmp_path / "align")
    (tmp_path / "align" / "evaluations").mkdir()
    evaluated("validation", "validation", 1, 0.25)
    evaluated("unseen", "unseen", 1, 8.0)
    evaluated("older", "validation", 7, 4.0)  # Of another checkpoint.
    fitted = hilight_jax.load(tmp_path / "align")
    assert fitted.confidence_temperature == 0.25
    sure = ask(fitted)
    assert sure.text == plain.text and sure.confidence > plain.confidence


def test_unknown_options_and_empty_texts_are_refused(model):
    with pytest.raises(ConfigError, match="'temprature' is no option of sampling. Did you mean 'temperature'"):
        model.dialogue(temprature=1.0)
    with pytest.raises(DataError, match="at least one word"):
        model.encode_text(" ...")


def test_an_encoder_does_not_chat(encoder):
    with pytest.raises(CheckpointError, match="embeds but cannot chat; name a run of align or tune"):
        encoder.chat([{"text": "Hello."}])


def test_what_is_no_model_is_refused(root, tmp_path):
    with pytest.raises(CheckpointError, match="no config.json"):
        hilight_jax.load(tmp_path)
    shutil.copytree(root / "align", tmp_path / "align")
    (tmp_path / "align" / "tokenizer.model").unlink()
    with pytest.raises(CheckpointError, match=r"lost its tokenizer\.model"):
        hilight_jax.load(tmp_path / "align")


def test_importing_the_package_does_not_import_jax():
    code = "import sys, hilight_jax; hilight_jax.load; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_things_are_located_in_frames_of_a_video(encoder, model, root):
    video = root / "a.mp4"  # Six frames of 128 x 80 px, five a second.
    own = uniform_indices(6, encoder.finder.num_frames)
    found = encoder.locate(video, "the red ball")
    assert found.phrase == "the red ball" and found.frames.tolist() == own.tolist()
    np.testing.assert_allclose(found.times, own / 5, atol=1e-3)
    assert ((0 <= found.x) & (found.x <= 128) & (0 <= found.y) & (found.y <= 80)).all()
    assert found.seen.tolist() == (found.strength >= USUAL_THRESHOLD).tolist()
    red, blue = encoder.locate(video.read_bytes(), ["red ball", "the blue ball"], frames=own.tolist())
    np.testing.assert_allclose(red.x, found.x, atol=1e-2)
    np.testing.assert_allclose(red.strength, found.strength, atol=1e-6)
    assert blue.phrase == "the blue ball" and not np.array_equal(blue.strength, red.strength)
    assert encoder.locate(video, "red ball", frames=3).frames.tolist() == [0, 2, 5]
    assert model.locate(video, "red ball").frames.tolist() == uniform_indices(6, model.data.num_frames).tolist()


@pytest.mark.parametrize(
    ("phrase", "frames", "error", "message"),
    [
        ("it", None, DataError, "'it' names nothing that can be seen"),
        ("red", 0, ConfigError, "frames is 0; give the number of frames"),
        ("red", [], ConfigError, r"frames is \[\]; give"),
        ("red", [1.5], ConfigError, "or their numbers"),
        ("red", [6], DataError, r"a\.mp4: frame 6 was asked for, but the video has the frames 0 to 5"),
    ],
)
def test_what_cannot_be_located_is_refused(encoder, root, phrase, frames, error, message):
    with pytest.raises(error, match=message):
        encoder.locate(root / "a.mp4", phrase, frames)


def test_a_thing_of_the_wrong_kind_is_one_sentence(root):
    model = hilight_jax.load(root / "align")
    with pytest.raises(DataError, match="video 0 of the search is ndarray; give a path, a file's bytes, or what"):
        model.search("the red ball", [model.encode_video(root / "a.mp4")])
    with pytest.raises(DataError, match="at least one word"):
        model.encode_text(["a", "b"])
    with pytest.raises(DataError, match="there is nothing to locate"):
        model.locate(root / "a.mp4", [])


def test_a_name_that_is_nearly_a_models_is_asked_back(root, tmp_path):
    with pytest.raises(CheckpointError, match="billiard-mini' is no working directory.* Did you mean 'billiards-mini'"):
        hilight_jax.load("billiard-mini")
    (tmp_path / "hilight_jax.json").write_text('{"format": "huggingface"}')
    with pytest.raises(CheckpointError, match="is an export for others to load, not a run; make one of it by 'python"):
        hilight_jax.load(tmp_path)


def test_loading_says_nothing(root, caplog):
    hilight_jax.load(root / "align")
    assert not caplog.records
