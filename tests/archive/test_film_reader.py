"""The pieces of a film: their frames are those of the piece as a clip, and damage is named."""

import io

import av
import numpy as np
import pytest
from PIL import Image

from hilight_jax.archive.film_reader import FilmReader
from hilight_jax.archive.films import Film, list_films
from hilight_jax.data.films.reader import PieceReader, ReadPiece
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.data.video import decode, decode_timed
from tests.archive.films import write_film
from tests.data.clips import encode, grey_frames


def read(path, rule="windows 1,1", frames=3, **known):
    """The pieces of a film and its end."""
    (film,) = (film for film in list_films(path.parent).films if film.path == str(path))
    film = Film(film.path, film.size, film.mtime_ns, **known)
    parts = []
    end = FilmReader(PieceReader(rule, frames, 16))(film, parts.append)
    return [part for part in parts if isinstance(part, ReadPiece)], end


def frames_at(path, numbers):
    return to_uint8_size(decode(path, lambda _: numbers), (16, 16))


@pytest.mark.parametrize("rule", ["windows 1,1", "windows 2,0.5", "windows 0.1,0.1"])
def test_a_piece_has_the_frames_of_the_clip(tmp_path, rule):
    path = write_film(tmp_path / "film.mp4", seconds=3.5)
    pieces, end = read(path, rule)
    _, times = decode_timed(path, lambda n: np.arange(n))
    assert end.seconds == pytest.approx(3.5) and not end.faults and not end.changed
    for part in pieces:
        held = np.flatnonzero((times > part.piece.start - 1e-6) & (times < part.piece.end - 1e-6))
        expected = frames_at(path, held[uniform_indices(len(held), 3)])
        np.testing.assert_array_equal(part.frames, expected)
    starts = [part.piece.start for part in pieces]
    assert starts == sorted(starts) and pieces[-1].piece.end == pytest.approx(3.5)


def test_times_are_seconds_from_the_first_frame_whatever_the_clock(tmp_path):
    times = [500, 510, 515, 520, 700, 705, 706, 780]
    path = write_film(tmp_path / "film.mkv", times=times)
    pieces, end = read(path)
    assert [(part.piece.start, part.piece.end) for part in pieces[:2]] == [
        (0.0, 1.0),
        (2.0, pytest.approx(end.seconds)),
    ]
    np.testing.assert_array_equal(pieces[0].frames, frames_at(path, uniform_indices(4, 3)))
    np.testing.assert_array_equal(pieces[1].frames, frames_at(path, 4 + uniform_indices(4, 3)))


def test_a_film_that_begins_late_in_its_file_begins_at_zero(tmp_path):
    path = write_film(tmp_path / "film.ts", seconds=2)
    pieces, end = read(path)
    assert [part.piece.start for part in pieces] == [0.0, 1.0] and end.seconds == pytest.approx(2, abs=0.11)


def test_the_strip_is_a_picture_of_frames_side_by_side(tmp_path):
    pieces, _ = read(write_film(tmp_path / "film.mp4", seconds=1, size=(48, 96)))
    assert Image.open(io.BytesIO(pieces[0].strip)).size == (3 * 144, 72)


def test_a_film_without_a_clock_counts_frames(tmp_path):
    path = write_film(tmp_path / "film.h264", seconds=5, container="h264")
    pieces, end = read(path)
    assert len(pieces) == 2 and end.seconds == pytest.approx(2.0)  # Its 50 frames at 25 a second.
    assert any("have no times" in fault for fault in end.faults)
    np.testing.assert_array_equal(pieces[0].frames, frames_at(path, uniform_indices(25, 3)))


def cut_mkv(path):
    content = write_film(path, seconds=4).read_bytes()
    path.write_bytes(content[: len(content) * 3 // 5])


def cut_mp4(path):
    """The index of the frames is in front, so the first part is readable."""
    content = encode(np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3)).astype(np.uint8), path=path)
    path.write_bytes(content[: len(content) * 3 // 5])


def without_first_key_frame(path):
    whole = write_film(path.with_suffix(".mp4"), seconds=5)
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if packet.dts is not None and number:
                packet.stream = copy
                output.mux(packet)


def damaged_inside(path):
    content = bytearray(write_film(path, seconds=6).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "spoil", "sentence"),
    [
        ("film.mkv", cut_mkv, "the end is missing"),
        ("film.mp4", cut_mp4, "cut short: its header lists 40 frames"),
        ("film.ts", damaged_inside, None),
    ],
)
def test_a_damaged_film_is_read_as_far_as_it_goes(tmp_path, name, spoil, sentence):
    spoil(tmp_path / name)
    pieces, end = read(tmp_path / name)
    assert pieces and end.hash
    if sentence:
        assert any(sentence in fault for fault in end.faults), end.faults


def test_frames_before_the_first_key_frame_are_no_part_of_the_film(tmp_path):
    without_first_key_frame(tmp_path / "film.mkv")
    pieces, end = read(tmp_path / "film.mkv")
    assert pieces[0].piece.start == 0 and 2 <= end.seconds <= 5


def test_a_film_that_changes_its_size_is_read_on(tmp_path):
    small, large = (
        write_film(tmp_path / f"{i}.ts", seconds=2, seed=i, size=size, container="mpegts").read_bytes()
        for i, size in enumerate([(48, 64), (96, 128)])
    )
    path = tmp_path / "film.ts"
    path.write_bytes(small + large)
    pieces, _ = read(path)
    assert len(pieces) >= 2 and all(part.frames.shape == (3, 16, 16, 3) for part in pieces)


def test_a_film_longer_than_a_day_has_its_times(tmp_path):
    path = write_film(tmp_path / "film.mkv", times=[0, 100, 90_000 * 100])
    pieces, end = read(path)
    assert pieces[-1].piece.start == 90_000 and end.seconds > 86_400


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "empty"), (b"no film" * 100, "is not a readable video"), (encode(grey_frames(12))[:1000], "not a readable")],
)
def test_what_is_no_film_has_a_sentence(tmp_path, content, sentence):
    (tmp_path / "film.mp4").write_bytes(content)
    pieces, end = read(tmp_path / "film.mp4")
    assert not pieces and sentence in " ".join(end.faults)


def test_a_known_content_is_not_read_again(tmp_path):
    path = write_film(tmp_path / "film.mp4", seconds=1)
    _, end = read(path)
    assert read(path, known_hash=end.hash) == ([], end._replace(seconds=0.0, same=True))


def test_a_film_that_is_written_meanwhile_is_marked(tmp_path):
    path = write_film(tmp_path / "film.mp4", seconds=1)
    (film,) = list_films(tmp_path).films

    def send(part):
        if isinstance(part, ReadPiece):
            with open(path, "ab") as file:
                file.write(b"more")

    assert FilmReader(PieceReader("windows 1,1", 3, 16))(film, send).changed
