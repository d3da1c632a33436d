"""Rings on the page in a real browser: they follow what a question names, over a film with a red square that moves."""

import shutil

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")

from tests.data.clips import encode
from tests.serving.server import listening, small_run
from tests.serving.test_page import ask, page_at, wait_until_it_plays

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER, reason="there is no chromium")]

# The centre of the bright pixels of the canvas, as a share of its width and height; null where there are none.
CENTRE = """canvas => {
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let [n, x, y] = [0, 0, 0];
  for (let i = 0; i < width * height; i++) {
    if (data[4 * i + 3] > 200) { n++; x += i % width; y += Math.floor(i / width); }
  }
  return n ? [x / n / width, y / n / height] : null;
}"""
SEEK = """async ([video, time]) => {
  const seeked = new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
  video.currentTime = time;
  await seeked;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with listening(small_run(tmp_path_factory.mktemp("run") / "small")) as address:
        yield address


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Twelve frames, ten a second: the square is in the second column of four, then in the third, then gone."""
    path = tmp_path_factory.mktemp("film") / "shot.webm"
    frames = np.full((12, 64, 128, 3), 128, np.uint8)
    for number, frame in enumerate(frames[:9]):
        column = 1 + number // 5
        frame[16:32, 32 * column : 32 * column + 32] = (255, 0, 0)
    path.write_bytes(encode(frames, container="webm", codec="libvpx-vp9", pixel_format="yuv420p"))
    return str(path)


def ring(page, time):
    page.evaluate(SEEK, [page.query_selector(".clip video"), time])
    return page.eval_on_selector(".rings", CENTRE)


def test_a_ring_follows_the_named_thing_and_hides_where_it_is_not_seen(address, film):
    with page_at(address) as page:
        page.set_input_files("#file", [film])
        page.wait_for_selector(".clip")
        wait_until_it_plays(page)
        assert page.is_hidden(".legend") and page.eval_on_selector(".rings", CENTRE) is None
        ask(page, "Is the red square left of the blue square?")
        page.locator(".legend li").nth(1).wait_for()
        red, blue = page.locator(".legend li").all_inner_texts()
        assert red.startswith("the red square: seen 0.0 to 0.8 s") and blue == "the blue square: not seen"
        assert ring(page, 0.05) == pytest.approx([3 / 8, 3 / 8], abs=0.02)
        assert ring(page, 0.75) == pytest.approx([5 / 8, 3 / 8], abs=0.02)
        assert ring(page, 1.05) is None
        ring(page, 0.05)
        page.locator(".legend input").first.uncheck()
        assert page.eval_on_selector(".rings", CENTRE) is None
        page.locator(".legend input").first.check()
        page.reload()
        page.locator(".legend li").nth(1).wait_for()
        ask(page, "And then?")
        assert page.locator(".legend li").count() == 2  # It names nothing new.


def test_places_move_evenly_between_two_frames_that_show_the_thing(address):
    found = {"times": [0, 1, 2, 3, 3], "seen": [True, True, False, True, True], "x": [0, 10, 99, 30, 30], "y": [5] * 5}
    times = (-1, 0, 0.3, 1, 1.4, 1.6, 2.4, 2.6, 9)
    with page_at(address) as page:
        at = page.evaluate("([found, times]) => times.map((time) => placeAt(found, time)?.x ?? null)", [found, times])
        assert at == [0, 0, pytest.approx(3), 10, 10, None, None, 30, 30]
        assert page.evaluate("whenSeen", found) == "seen 0.0 to 1.0, 3.0 to 3.0 s"


def test_every_ring_has_a_name_for_those_who_do_not_see_it(address, film):
    with page_at(address) as page:
        page.set_input_files("#file", [film])
        page.wait_for_selector(".clip")
        ask(page, "Where is the red square?")
        page.locator(".legend input").first.wait_for()
        assert page.get_by_role("checkbox", name="the red square: seen").is_checked()
        assert page.locator(".rings").get_attribute("aria-hidden") == "true"
