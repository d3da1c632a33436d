import json

import pytest

from hilight_jax import shots
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.core.progress import timestamp
from tests.data.clips import encode
from tests.data.table_films import film


@pytest.fixture
def match(tmp_path):
    frames, times = film(8, [3.0])
    path = tmp_path / "match.mp4"
    path.write_bytes(encode(frames, times=times, codec="libx264", pixel_format="yuv420p"))
    (tmp_path / "match.json").write_text(json.dumps({"strokes": [{"time": 3.0}]}))
    return path


def test_pieces_are_a_table_and_the_last_line_is_json(match, capsys):
    shots.main([str(match), "--truth", "beside", "--json"])
    *lines, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    (piece,) = [piece for piece in result["films"][0]["pieces"] if piece["kind"] == "stroke"]
    assert piece["stroke"] == pytest.approx(3.0, abs=0.3)
    assert result["recall"] == result["precision"] == 1.0
    assert f"{match}: 1 of 1 strokes found, recall 1.000, precision 1.000." in lines
    assert any(line.split()[:1] == ["00:00.0"] and line.endswith("stroke") for line in lines)


def test_minutes_have_tenths():
    assert [timestamp(seconds) for seconds in (0, 4.26, 59.97, 723.44)] == ["00:00.0", "00:04.3", "01:00.0", "12:03.4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.mp4", "b.mp4", "--truth", "a.json"], "--truth a.json is of one film; give one VIDEO, or --truth beside"),
        (["a.mp4", "--tolerance", "0"], "--tolerance 0.0 matches nothing; give a number of seconds above 0."),
        (["a.mp4", "--truth", "b.json"], "the truth 'b.json' cannot be read"),
        (["nowhere.mp4"], "'nowhere.mp4': the file does not exist; correct the path."),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence):
    with pytest.raises(UserError) as error:
        shots.main(arguments)
    assert sentence in str(error.value)


def test_a_file_that_is_no_video_is_one_sentence(tmp_path):
    (tmp_path / "a.mp4").write_bytes(bytes(1000))
    with pytest.raises(DataError, match="is not a readable video"):
        shots.main([str(tmp_path / "a.mp4")])
