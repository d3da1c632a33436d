import base64
import json
import re
import threading

import numpy as np
import pytest

pytest.importorskip("fastapi")

from hilight_jax.serving.service import ServiceLimits
from hilight_jax.serving.videos.decoding import VideoLimits
from tests.data.clips import encode
from tests.formats.exporting import runs
from tests.serving.server import ANSWER, ask, served, small_run, video_part


def stream(response):
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_a_question_gets_an_answer_with_its_counts(client):
    body = ask(client).json()
    assert body["object"] == "chat.completion" and body["model"] == "small"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["finish_reason"] in ("stop", "length")
    counts = body["usage"]
    assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"]
    assert 1 <= counts["completion_tokens"] <= 6


def test_the_stream_is_the_same_answer_in_pieces(client):
    whole = ask(client).json()
    events = stream(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events if event["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert events[-1]["usage"] == whole["usage"]


def test_a_seed_repeats_a_drawn_answer(client):
    first, second, other = (ask(client, temperature=1.5, seed=seed).json()["choices"][0] for seed in (1, 1, 2))
    assert first == second
    assert first["message"] != other["message"]


def test_a_video_is_shown_by_its_file_and_by_a_data_url(client, film):
    stored = client.post("/v1/files", files={"file": ("a.mp4", film)}, data={"purpose": "user_data"}).json()
    assert stored["bytes"] == len(film) and stored["filename"] == "a.mp4"
    assert client.get(f"/v1/files/{stored['id']}").json() == stored
    assert stored in client.get("/v1/files").json()["data"]
    words = {"type": "text", "text": "what is hit?"}
    by_file = ask(client, [video_part(stored["id"]), words]).json()
    url = "data:video/mp4;base64," + base64.b64encode(film).decode()
    by_url = ask(client, [video_part(url), words]).json()
    assert by_file["choices"] == by_url["choices"]
    assert by_file["usage"]["prompt_tokens"] > ask(client).json()["usage"]["prompt_tokens"]
    assert ask(client, [video_part(url), video_part(url), words]).status_code == 200
    assert client.delete(f"/v1/files/{stored['id']}").json()["deleted"]
    assert client.get(f"/v1/files/{stored['id']}").status_code == 404


def test_files_are_listed_page_by_page(run, film):
    with served(run) as client:
        ids = [client.post("/v1/files", files={"file": (f"{i}.mp4", film)}).json()["id"] for i in range(3)]

        def page(**wish):
            found = client.get("/v1/files", params=wish).json()
            listed = [file["id"] for file in found["data"]]
            assert (found["first_id"], found["last_id"]) == ((listed[0], listed[-1]) if listed else (None, None))
            return listed, found["has_more"]

        assert page() == (ids, False)
        assert page(limit=2) == (ids[:2], True)
        assert page(limit=2, after=ids[1]) == (ids[2:], False)
        assert page(order="desc", after=ids[1]) == (ids[:1], False)
        assert page(purpose="batch") == page(after=ids[2]) == ([], False)
        assert client.get("/v1/files", params={"after": "file-0"}).status_code == 404
        assert client.get("/v1/files", params={"limit": 0}).json()["error"]["param"] == "query.limit"


def test_a_file_comes_back_as_bytes_and_nothing_else(client, film):
    stored = client.post("/v1/files", files={"file": ("<b>.html", film)}, data={"purpose": "user_data"}).json()
    back = client.get(f"/v1/files/{stored['id']}/content")
    assert back.content == film
    assert back.headers["content-type"] == "application/octet-stream"
    assert back.headers["x-content-type-options"] == "nosniff"
    assert client.get("/v1/files/file-0/content").status_code == 404


@pytest.mark.parametrize("content", [b"", b"<script>", b"\0" * 100])
def test_what_is_no_video_is_not_kept(client, content):
    before = client.get("/v1/files").json()
    refused = client.post("/v1/files", files={"file": ("a.mp4", content)}, data={"purpose": "user_data"})
    assert refused.status_code == 400 and "the video cannot be used" in refused.json()["error"]["message"]
    assert client.get("/v1/files").json() == before


def test_a_video_may_be_written_as_openai_writes_files_and_embedded_by_its_id(client, film):
    stored = client.post("/v1/files", files={"file": ("a.mp4", film)}, data={"purpose": "user_data"}).json()["id"]
    words = {"type": "text", "text": "what is hit?"}
    usual = ask(client, [video_part(stored), words]).json()["choices"]
    for part in ({"type": "file", "file": {"file_id": stored}}, {"type": "video_url", "video_url": stored}):
        assert ask(client, [part, words]).json()["choices"] == usual
    vectors = [
        client.post("/v1/embeddings", json={"input": given}).json()["data"][0]["embedding"]
        for given in (stored, video_part(stored), [video_part(stored)])
    ]
    assert vectors[0] == vectors[1] == vectors[2]


def test_of_several_videos_the_broken_one_is_named(client, film):
    good = "data:video/mp4;base64," + base64.b64encode(film).decode()
    refused = ask(client, [video_part(good), video_part("data:;base64,eA=="), {"type": "text", "text": "what is hit?"}])
    assert refused.json()["error"]["message"].startswith("video 2 of 2: the video cannot be used")


def test_questions_in_a_row_are_one_turn(client):
    row = [{"role": "user", "content": "is it red?"}, {"role": "user", "content": "or blue?"}]
    one = [{"role": "user", "content": "is it red?\nor blue?"}]
    answers = [client.post("/v1/chat/completions", json={"messages": m, **ANSWER}).json() for m in (row, one)]
    assert answers[0]["choices"] == answers[1]["choices"]


def test_without_a_seed_every_drawn_answer_is_another(client):
    drawn = {
        ask(client, temperature=2.0, max_tokens=6, ignore_eos=True).json()["choices"][0]["message"]["content"]
        for _ in range(5)
    }
    assert len(drawn) > 1


def test_a_conversation_goes_on_with_a_system_turn_before_it(client):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "what is hit?"},
        {"role": "assistant", "content": "the red ball"},
        {"role": "user", "content": "and then?"},
    ]
    assert client.post("/v1/chat/completions", json={"messages": turns, **ANSWER}).status_code == 200
    refused = client.post("/v1/chat/completions", json={"messages": turns[:3], **ANSWER})
    assert refused.status_code == 400
    assert "last turn is the model's" in refused.json()["error"]["message"]


def test_embeddings_of_texts_and_videos(client, film):
    url = "data:video/mp4;base64," + base64.b64encode(film).decode()
    found = client.post("/v1/embeddings", json={"input": ["a ball", video_part(url)]}).json()
    vectors = np.array([item["embedding"] for item in found["data"]])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    packed = client.post("/v1/embeddings", json={"input": "a ball", "encoding_format": "base64"}).json()
    content = base64.b64decode(packed["data"][0]["embedding"])
    np.testing.assert_array_equal(np.frombuffer(content, np.float32), vectors[0].astype(np.float32))


def test_evidence_and_moments(client, film):
    url = "data:video/mp4;base64," + base64.b64encode(film).decode()
    turns = [{"role": "user", "content": [video_part(url), {"type": "text", "text": "what is hit?"}]}]
    (clip,) = client.post("/v1/evidence", json={"messages": turns, "answer": "the red ball"}).json()["data"]
    assert np.array(clip["maps"]).max() == 1 and len(clip["frames"]) == len(clip["maps"]) == len(clip["numbers"])
    assert sum(clip["frame_shares"]) == pytest.approx(1, abs=1e-3)
    assert clip["frames"][0].startswith("data:image/jpeg;base64,")
    asked = {"video": {"url": url}, "text": "a red ball"}
    for words, ordered_by in ((None, "score"), (False, "similarity")):
        found = client.post("/v1/moments", json={**asked, "words": words}).json()
        data = found["data"]
        assert found["seconds"] == pytest.approx(2.0) and found["faults"] == []
        assert data == sorted(data, key=lambda each: -each[ordered_by])
        # Windows of a quarter of the 1.9 s up to the last frame, each half over the next.
        windows = sorted((each["start"], each["end"]) for each in data)
        np.testing.assert_allclose(windows[:2], [(0, 0.475), (0.2375, 0.7125)], atol=2e-3)
        assert windows[-1][1] == pytest.approx(2.0) and "shots" not in found
        assert all((each["score"] == each["similarity"]) == (words is False) for each in data)
        assert data[0]["strip"].startswith("data:image/jpeg;base64,") and data[0]["kind"] == "window"


LONG = 26  # Seconds.


@pytest.fixture(scope="module")
def long_film():
    """Two frames a second, grey, and from 10 s to 14 s white."""
    frames = np.full((2 * LONG, 48, 64, 3), 60, np.uint8)
    frames[20:28] = 255
    return encode(frames, times=range(0, 50 * len(frames), 50))


def test_a_conversation_about_a_film_is_about_its_shots(client, long_film):
    url = "data:video/mp4;base64," + base64.b64encode(long_film).decode()
    turns = [{"role": "user", "content": [video_part(url), {"type": "text", "text": "what is hit?"}]}]
    body = {"messages": turns, "max_tokens": 3}
    answer = client.post("/v1/chat/completions", json=body).json()
    (moment,) = answer["moments"]
    assert 0 <= moment["start"] < moment["end"] <= LONG and moment["kind"] in ("stroke", "interlude")
    with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert [event["moments"] for event in events if "moments" in event] == [[moment]]
    short = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "what?"}]}).json()
    assert "moments" not in short


def test_a_film_is_read_once_for_any_number_of_questions(run, long_film):
    with served(run) as client:
        url = client.post("/v1/files", files={"file": ("a.mp4", long_film)}).json()["id"]
        asked = {"video": {"url": url}, "text": "a red ball", "shots": True}
        first = client.post("/v1/moments", json=asked).json()
        assert first["shots"] and first["shots"][0]["start"] == 0 and first["shots"][-1]["end"] > LONG - 1
        assert max(each["end"] for each in first["data"]) == pytest.approx(first["seconds"])
        client.service.videos.film = None  # It is not read again.
        again = client.post("/v1/moments", json={**asked, "text": "a blue ball"}).json()
        assert len(again["data"]) == len(first["data"])


def test_a_file_that_is_no_film_is_a_sentence(client):
    url = "data:video/mp4;base64," + base64.b64encode(b"no film at all").decode()
    response = client.post("/v1/moments", json={"video": {"url": url}, "text": "x"})
    assert response.status_code == 400 and "cannot be used" in response.json()["error"]["message"]


def test_uploads_are_searched_and_stay_encoded(run, film):
    with served(run) as client:
        assert client.post("/v1/search", json={"text": "a red ball"}).json() == {"object": "list", "data": []}
        films = [film, encode(np.random.default_rng(1).integers(0, 256, (20, 48, 64, 3), np.uint8))]
        ids = [client.post("/v1/files", files={"file": ("a.mp4", each)}).json()["id"] for each in films]
        found = client.post("/v1/search", json={"text": "a red ball"}).json()["data"]
        assert sorted(each["url"] for each in found) == sorted(ids)
        assert found[0]["score"] > found[1]["score"]
        client.service.embedding._embedder.encode_frames = None  # Nothing is encoded again.
        again = client.post("/v1/search", json={"text": "a red ball", "videos": [{"url": ids[0]}], "words": False})
        (only,) = again.json()["data"]
        assert only["url"] == ids[0] and only["score"] == only["similarity"]
        assert client.delete(f"/v1/files/{ids[0]}").json()["deleted"]
        assert [each["url"] for each in client.post("/v1/search", json={"text": "x"}).json()["data"]] == [ids[1]]


def test_a_search_of_all_uploads_leaves_out_one_that_is_deleted_meanwhile(run, film):
    with served(run) as client:
        films = [film, encode(np.random.default_rng(1).integers(0, 256, (20, 48, 64, 3), np.uint8))]
        first, second = (client.post("/v1/files", files={"file": ("a.mp4", each)}).json()["id"] for each in films)
        embedder = client.service.embedding._embedder
        encode_frames = embedder.encode_frames

        def encode_and_delete(frames):
            client.service.videos.delete(second)
            return encode_frames(frames)

        embedder.encode_frames = encode_and_delete
        found = client.post("/v1/search", json={"text": "a red ball"})
        assert found.status_code == 200 and [each["url"] for each in found.json()["data"]] == [first]
        named = client.post("/v1/search", json={"text": "x", "videos": [{"url": first}, {"url": second}]})
        assert named.status_code == 404


def test_the_page_and_its_parts_come_from_here(client):
    page = client.get("/").text
    assert "http://" not in page and "https://" not in page
    scripts = [(name, "javascript") for name in ("page.js", "rings.js", "archive.js")]
    for name, kind in (("style.css", "text/css"), *scripts):
        assert kind in client.get(f"/page/{name}").headers["content-type"]
    assert client.get("/page/../app.py").status_code == 404
    assert client.get("/page/index.html").status_code == 404


def test_health_models_and_metrics(client):
    assert client.head("/health").status_code == client.head("/").status_code == 200
    assert client.get("/health").json() == {"status": "ok"}
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["max_videos"]) == ("small", 8) and model["max_model_len"] > 100
    assert client.get("/v1/models/other").json()["error"]["code"] == "model_not_found"
    tokens = ask(client).json()["usage"]["completion_tokens"]
    before = client.get("/metrics").text
    ask(client)
    after = client.get("/metrics").text
    assert counted(after, "hilight_answer_tokens_total") - counted(before, "hilight_answer_tokens_total") == tokens
    asked = 'hilight_requests_total{route="/v1/chat/completions",status="200"}'
    assert counted(after, asked) - counted(before, asked) == 1
    assert counted(after, "hilight_first_token_seconds_count") == counted(after, "hilight_answer_seconds_count") > 1


def counted(metrics, name):
    return next(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(f"{name} "))


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/v1/chat/completions", b"{", 400, "is no JSON .* at character 1"),
        ("/v1/chat/completions", b"[1, 2]", 400, "valid dictionary|object"),
        ("/v1/chat/completions", b"{}", 400, "messages: field required"),
        ("/v1/chat/completions", {"messages": [{"role": "king", "content": "x"}]}, 400, "messages.0.role"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": 5}]}, 400, "messages.0.content"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "n": 3}, 400, "'n' is not served"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, 400, "max_tokens"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "x"}], "model": "gpt"},
            404,
            "no model 'gpt'",
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "x"}], "tools": [{}]},
            400,
            "'tools' is not",
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "x"}], "temprature": 1},
            400,
            "Did you mean",
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            400,
            r"messages.0.content.0: a part of the type 'image_url' is not served here; send 'text' and 'video_url'\.",
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            400,
            r"messages\.0\.content\.0\.text: field required\.",
        ),
        ("/v1/embeddings", {"input": "x", "dimensions": 8}, 400, "'dimensions' is not served"),
        ("/v1/embeddings", {"input": "file-" + "0" * 32}, 404, "there is no file"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stop": [""]}, 400, "stop"),
        ("/v1/embeddings", {"input": "x", "model": "gpt"}, 404, "no model 'gpt'"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": ""}]}, 400, "no words|cannot be answered"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "<eos> x"}]}, 400, "'<eos>'"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x " * 3000}]}, 400, "do not fit into"),
        ("/v1/embeddings", {"input": []}, 400, "input"),
        ("/v1/embeddings", {"input": "..."}, 200, ""),
        ("/v1/moments", {"video": {"url": "file-0"}, "text": "x"}, 400, "neither the id of an uploaded file"),
        ("/v1/search", {"text": "x", "videos": [{"url": "file-" + "0" * 32}]}, 404, "there is no file"),
        ("/v1/search", {"text": "x", "videos": []}, 400, "videos"),
        ("/v1/search", {"text": "x", "shortlist": 0}, 400, "shortlist"),
        ("/v1/search", {"text": "x", "word": True}, 400, "Did you mean 'words'"),
    ],
)
def test_what_cannot_be_is_answered_with_a_sentence(client, path, body, status, sentence):
    sent = (
        {"content": body, "headers": {"content-type": "application/json"}}
        if isinstance(body, bytes)
        else {"json": body}
    )
    response = client.post(path, **sent)
    assert response.status_code == status
    if status != 200:
        assert re.search(sentence, response.json()["error"]["message"])


@pytest.mark.parametrize(
    ("url", "status", "sentence"),
    [
        ("file-" + "0" * 32, 404, "there is no file"),
        ("file-../../etc/passwd", 400, "neither the id"),
        ("http://127.0.0.1:1/x.mp4", 403, "fetched from no host"),
        ("http://169.254.169.254/latest", 403, "fetched from no host"),
        ("file:///etc/passwd", 400, "neither the id"),
        ("data:video/mp4;base64,!!!!", 400, "no base64"),
        ("data:video/mp4", 400, "is not written as"),
        ("data:text/plain,hello", 400, "is not written as"),
        ("data:video/mp4;base64," + base64.b64encode(b"\0" * 1000).decode(), 400, "no video that can be read"),
        (
            "data:application/x-mpegurl;base64,"
            + base64.b64encode(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n").decode(),
            400,
            "no video that can be read",
        ),
    ],
)
def test_what_is_no_video_is_refused(client, url, status, sentence):
    response = ask(client, [video_part(url), {"type": "text", "text": "x"}])
    assert response.status_code == status
    assert sentence in response.json()["error"]["message"]
    assert client.get("/health").status_code == 200


def test_truncated_long_and_large_videos_are_refused(run, film):
    limits = VideoLimits(max_bytes=len(film) + 10, max_pixels=48 * 64 - 1, max_seconds=0.1)
    with served(run, limits=limits) as client:
        wide = ask(client, [video_part("data:video/mp4;base64," + base64.b64encode(film).decode())])
        assert "have 64x48 pixels, but may have 3,071" in wide.json()["error"]["message"]
        assert client.post("/v1/files", files={"file": ("a", film + b"x" * 20)}).status_code == 413
    with served(run, limits=VideoLimits(max_seconds=0.1)) as client:
        long = ask(client, [video_part("data:video/mp4;base64," + base64.b64encode(film).decode())])
        assert "s long, but may be 0 s" in long.json()["error"]["message"]


def test_a_decoder_that_is_killed_or_takes_too_much_harms_nobody(run, film, monkeypatch):
    with served(run, limits=VideoLimits(decode_memory_bytes=60 * 2**20)) as client:
        failed = ask(client, [video_part("data:video/mp4;base64," + base64.b64encode(film).decode())])
        assert failed.status_code in (400, 502)
        assert client.get("/health").status_code == 200
        assert ask(client).status_code == 200


def test_a_full_queue_answers_429(run):
    with served(run, slots=1, max_waiting=1) as client:
        found = []

        def one():
            found.append(ask(client, max_tokens=200).status_code)

        threads = [threading.Thread(target=one) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(found) == {200, 429}
        assert ask(client).status_code == 200


def test_a_body_of_unknown_length_is_cut_off(run):
    with served(run, max_body_bytes=100_000) as client:

        def long():
            for _ in range(30):
                yield b"x" * 10_000

        def half():
            yield b"x" * 60_000

        refused = client.post("/v1/chat/completions", content=half())
        assert "send it as 'Content-Type: application/json'" in refused.json()["error"]["message"]
        for content in (long(), b"x" * 100_001):
            refused = client.post("/v1/chat/completions", content=content)
            assert refused.status_code == 413 and "may have 100,000" in refused.json()["error"]["message"]
        for _ in range(20):  # What was read is forgotten.
            assert client.post("/v1/chat/completions", content=half()).status_code == 415
        assert ask(client).status_code == 200


def test_keys_are_asked_for_everywhere_but_at_the_door(run):
    with served(run, api_keys=("secret", "other")) as client:
        assert ask(client).status_code == 200
        for headers in (
            {"authorization": ""},
            {"authorization": "Bearer wrong"},
            {"authorization": "Bearer sécret".encode()},
        ):
            refused = client.get("/v1/models", headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert client.get("/health", headers={"authorization": ""}).status_code == 200
        assert client.get("/", headers={"authorization": ""}).status_code == 200


def test_pages_of_other_sites_may_not_ask(run):
    with served(run, origins=("https://app.example.com",)) as client:
        assert client.get("/v1/models", headers={"origin": "https://evil.example.com"}).status_code == 403
        assert client.get("/v1/models", headers={"origin": "null"}).status_code == 403
        assert client.get("/v1/models", headers={"origin": "http://testserver"}).status_code == 200
        allowed = client.get("/v1/models", headers={"origin": "https://app.example.com"})
        assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
        asked = {"origin": "https://app.example.com", "access-control-request-method": "POST"}
        assert client.options("/v1/chat/completions", headers=asked).status_code == 200


def test_a_server_for_this_machine_has_no_other_name(run):
    with served(run, origins=("https://app.example.com",), local=True) as client:
        for host, status in [
            ("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("app.example.com", 200),
            ("rebound.example.com", 421), ("127.0.0.1.example.com", 421),
        ]:  # fmt: skip
            assert client.get("/v1/models", headers={"host": host}).status_code == status, host


def test_limits_of_a_request(run, film):
    url = "data:video/mp4;base64," + base64.b64encode(film).decode()
    with served(run, service_limits=ServiceLimits(max_new_tokens=2, max_videos=1)) as client:
        assert ask(client, max_tokens=50).json()["usage"]["completion_tokens"] <= 2
        refused = ask(client, [video_part(url), video_part(url)])
        assert "shows 2 videos, but may show 1" in refused.json()["error"]["message"]


def test_a_conversation_shows_no_more_videos_than_the_models_words_tell_apart(tmp_path):
    with served(small_run(tmp_path / "tracked", runs.TRACKED)) as client:
        (model,) = client.get("/v1/models").json()["data"]
        assert model["max_videos"] == runs.TRACKED.word_tracks.max_clips == 2
        refused = ask(client, [video_part("file-" + "0" * 32)] * 3)  # Refused before a video is read.
        assert refused.status_code == 400
        assert "shows 3 videos, but may show 2" in refused.json()["error"]["message"]


def test_an_answer_ends_before_a_stop_string(client):
    whole = ask(client, ignore_eos=True).json()["choices"][0]
    text = whole["message"]["content"]
    assert whole["finish_reason"] == "length" and len(text) > 4
    for stop in (text[3], [text[3:5], "never said"]):
        cut = ask(client, ignore_eos=True, stop=stop).json()["choices"][0]
        assert cut["finish_reason"] == "stop"
        assert cut["message"]["content"] == text[: text.find(stop if isinstance(stop, str) else stop[0])]
    missed = ask(client, ignore_eos=True, stop=text + "x").json()["choices"][0]
    assert missed == whole


def test_fields_that_ask_for_nothing_are_passed_over(client):
    neutral = {
        "tools": [],
        "response_format": {"type": "text"},
        "frequency_penalty": 0.0,
        "logprobs": False,
        "user": "me",
    }
    assert ask(client, **neutral).json()["choices"] == ask(client).json()["choices"]


def test_what_is_compiled_beforehand_changes_no_answer(run):
    with served(run) as client:
        client.service.warm_up()
        warmed = ask(client).json()["choices"]
    with served(run) as client:
        assert ask(client).json()["choices"] == warmed


def test_without_an_encoder_embeddings_are_refused(run):
    with served(run, embedder=False) as client:
        refused = client.post("/v1/embeddings", json={"input": "x"})
        assert refused.status_code == 400 and "has no encoder" in refused.json()["error"]["message"]


def test_many_clients_at_once_each_get_their_own_answer(run):
    with served(run, slots=4, max_waiting=64) as client:
        words = [f"question {i} about ball {i % 7}" for i in range(24)]
        alone = [ask(client, word).json()["choices"] for word in words]
        together: dict[int, list] = {}

        def one(i):
            together[i] = ask(client, words[i]).json()["choices"]

        threads = [threading.Thread(target=one, args=(i,)) for i in range(len(words))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [together[i] for i in range(len(words))] == alone
