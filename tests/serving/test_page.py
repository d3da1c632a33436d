"""The page in a real browser, without its window: what a user does with it."""

import contextlib
import re
import shutil
import time

import numpy as np
import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")

from hilight_jax.serving.slots import Slots  # noqa: E402
from tests.data.clips import encode  # noqa: E402
from tests.serving.live import live  # noqa: E402
from tests.serving.server import listening, small_run  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER, reason="there is no chromium")]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with live(small_run(tmp_path_factory.mktemp("run") / "small")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "shot.webm"
    frames = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    path.write_bytes(encode(frames, container="webm", codec="libvpx-vp9", pixel_format="yuv420p"))
    return str(path)


@contextlib.contextmanager
def page_at(address, ready="#model:text('small')", **options):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(**options)
        faults, inside = [], (address, "blob:", "data:")
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.extend([] if request.url.startswith(inside) else [request.url]))
        page.goto(address)
        page.on("console", lambda said: faults.extend([said.text] if "Security Policy" in said.text else []))
        page.wait_for_selector(ready)
        yield page
        assert faults == []
        browser.close()


def ask(page, text="what is hit?"):
    before = page.locator(".turn.assistant").count()
    page.fill("#question", text)
    page.keyboard.press("Enter")
    page.locator(".turn.assistant:not(.busy)").nth(before).wait_for()


def wait_until_it_plays(page):
    for _ in range(100):
        if page.evaluate("document.querySelector('.clip video').readyState") >= 1:
            return
        page.wait_for_timeout(50)
    raise AssertionError("the browser cannot play the video")


def test_upload_ask_evidence_and_export(address, film):
    with page_at(address) as page:
        page.set_input_files("#file", [film])
        page.wait_for_selector(".clip")
        wait_until_it_plays(page)
        assert page.inner_text(".name") == "shot.webm: shown with the next question"
        ask(page)
        assert page.inner_text(".turn.assistant .said").strip()
        assert page.inner_text(".turn.user .who") == "You · shot.webm"
        page.click(".evidence summary")
        page.wait_for_selector(".evidence canvas")
        first = page.evaluate("document.querySelector('.evidence canvas').toDataURL()")
        move = "slider => { slider.value = 1 - Math.min(slider.value, 1); slider.dispatchEvent(new Event('input')); }"
        page.eval_on_selector(".evidence input", move)
        assert page.evaluate("document.querySelector('.evidence canvas').toDataURL()") != first
        ask(page, "and then?")
        assert page.locator(".turn.assistant").count() == 2
        said = page.locator(".who, .said").all_inner_texts()
        page.reload()
        page.wait_for_selector("#model:text('small')")
        assert page.locator(".clip").count() == 1 and page.locator(".who, .said").all_inner_texts() == said
        wait_until_it_plays(page)
        ask(page, "and after a reload?")
        assert page.locator(".turn.assistant").count() == 3
        with page.expect_download() as download:
            page.click("#export")
        assert '"role": "assistant"' in open(download.value.path(), encoding="utf-8").read()
        page.click("#reset")
        assert page.locator(".turn").count() == 0 and page.locator(".clip").count() == 0


def test_what_goes_wrong_is_said_and_the_question_comes_back(address, film, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with page_at(address) as page:
        page.set_input_files("#file", [str(broken)])
        page.wait_for_selector("#error:not([hidden])")
        assert "no video that can be read" in page.inner_text("#error")
        assert page.locator(".clip").count() == 0 and page.is_visible("#blind")
        page.set_input_files("#file", [film])
        page.wait_for_selector(".clip")
        assert page.is_hidden("#error") and page.is_hidden("#blind")
        page.fill("#question", "<eos>?")
        page.click("#send")
        page.wait_for_selector("#error:not([hidden])")
        assert "'<eos>'" in page.inner_text("#error")
        assert page.input_value("#question") == "<eos>?"
        assert page.locator(".turn").count() == 0
        assert page.inner_text(".name") == "shot.webm: shown with the next question"


def test_a_video_can_be_taken_out_before_it_was_asked_about(address, film):
    with page_at(address) as page:
        for number in (1, 2):
            page.set_input_files("#file", [film])
            page.locator(".clip").nth(number - 1).wait_for()
        page.locator(".remove").first.click()
        page.locator(".clip").nth(1).wait_for(state="detached")
        ask(page)
        assert page.inner_text(".turn.user .who") == "You · shot.webm"
        assert page.locator(".remove").is_hidden()


def test_a_moment_is_found_and_shown(tmp_path, film):
    with listening(small_run(tmp_path / "small")) as address, page_at(address) as page:
        page.set_input_files("#file", [film])
        page.wait_for_selector(".clip")
        wait_until_it_plays(page)
        assert page.is_hidden(".curve")
        page.fill(".moment input", "the red ball")
        page.click(".moment button")
        page.locator(".peak", has_text="Best from").wait_for()
        said = re.match(r"Best from 00:([\d.]+) to 00:([\d.]+): score -?[\d.]+, lowest", page.inner_text(".peak"))
        assert page.is_visible(".curve") and page.locator(".curve path").get_attribute("d").count("L") >= 5
        place = "document.querySelector('.clip video').currentTime"
        assert abs(page.evaluate(place) - float(said[1])) < 0.06
        strips = page.locator(".strips button")
        assert 1 <= strips.count() <= 3 and "00:" in strips.first.inner_text()
        box = page.locator(".curve").bounding_box()
        page.mouse.click(box["x"] + box["width"] - 2, box["y"] + 5)
        assert page.evaluate(f"{place} / document.querySelector('.clip video').duration") > 0.9


def test_a_stopped_answer_is_kept_and_a_new_conversation_knows_nothing_of_the_old(tmp_path, film, monkeypatch):
    step = Slots.step

    def slowly(slots, ids):
        time.sleep(0.05)
        return step(slots, ids)

    monkeypatch.setattr(Slots, "step", slowly)
    with listening(small_run(tmp_path / "small")) as address, page_at(address) as page:
        page.set_input_files("#file", [film])
        page.wait_for_selector(".clip")
        page.fill("#question", "which ball?")
        page.click("#send")
        page.wait_for_selector(".turn.assistant .said:not(:empty)")
        page.click("#stop")
        page.wait_for_selector(".turn.assistant:not(.busy) .evidence")
        assert page.is_hidden("#error") and page.locator(".turn").count() == 2
        page.fill("#question", "and then?")
        page.click("#send")
        page.wait_for_selector(".turn.assistant.busy .said:not(:empty)")
        page.click("#reset")
        page.wait_for_selector("#send:visible")
        assert page.locator(".turn").count() == 0 and page.locator(".clip").count() == 0
        with page.expect_request("**/v1/chat/completions") as sent:
            page.fill("#question", "what is new?")
            page.click("#send")
        assert [message["content"] for message in sent.value.post_data_json["messages"]] == [
            [{"type": "text", "text": "what is new?"}]
        ]


def test_a_key_is_asked_for_until_it_is_right(tmp_path, film):
    with live(small_run(tmp_path / "small"), environment={"HILIGHT_API_KEYS": "secret"}) as (address, _):
        with page_at(address, ready="#key-dialog[open]") as page:
            page.fill("#key", "guess")
            page.keyboard.press("Enter")
            page.wait_for_selector("#key-wrong:not([hidden])")
            page.fill("#key", "secret")
            page.keyboard.press("Enter")
            page.wait_for_selector("#model:text('small')")
            page.set_input_files("#file", [film])
            page.wait_for_selector(".clip")
            ask(page)


def test_it_works_by_keyboard_and_has_names_for_everything(address, film):
    with page_at(address) as page:
        page.set_input_files("#file", [film])
        page.wait_for_selector(".clip")
        unnamed = "e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)"
        everything = "[...document.querySelectorAll('button, input, textarea, video')]"
        nameless = page.evaluate(f"{everything}.filter({unnamed}).map(e => e.outerHTML)")
        assert nameless == []
        seen = set()
        page.focus("#reset")
        for _ in range(25):
            page.keyboard.press("Tab")
            seen.add(
                page.evaluate(
                    "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
                )
            )
        assert {"file", "question", "send"} <= seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_a_phone(address, film, scheme):
    with page_at(address, viewport={"width": 360, "height": 700}, color_scheme=scheme) as page:
        page.set_input_files("#file", [film])
        page.wait_for_selector(".clip")
        ask(page, "a long word: " + "x" * 120)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        colours = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        light = [sum(int(v) for v in colour[4:-1].split(",")) for colour in colours]
        assert (light[0] > light[1]) == (scheme == "light")
