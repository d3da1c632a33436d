import threading
import time

import numpy as np
import pytest

from hilight_jax.generation.language_model import slot_count
from hilight_jax.generation.prompt import ClipInput, Prompt, UnencodedPrompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.serving import slots
from hilight_jax.serving.answer_stream import GenerationRequest
from hilight_jax.serving.engine import Closed, Engine
from hilight_jax.serving.videos.admission import QueueFull
from tests.generation.chat import clip, frames, generator, prompt


@pytest.fixture
def engine():
    engine = Engine(generator(), num_slots=3, max_waiting=8)
    yield engine
    engine.close()


def request(one, sampling=SamplingConfig()):
    return GenerationRequest(UnencodedPrompt(one.ids), sampling)


def whole(stream):
    chunks = list(stream.chunks(timeout=60))
    return "".join(chunk.text for chunk in chunks), chunks[-1]


def alone(ids, sampling):
    (answer,) = generator().generate([prompt(*ids)], sampling)
    return answer


def requests(count):
    """Prompts and wishes that all differ."""
    rng = np.random.default_rng(0)
    wishes = [
        SamplingConfig(max_new_tokens=12),
        SamplingConfig(max_new_tokens=5),
        SamplingConfig(max_new_tokens=9, temperature=1.0, seed=3),
        SamplingConfig(max_new_tokens=20, temperature=0.7, top_k=5, top_p=0.8, seed=1),
    ]
    return [(tuple(rng.integers(2, 28, rng.integers(1, 40)).tolist()), wishes[i % len(wishes)]) for i in range(count)]


def test_every_answer_is_the_one_that_it_gets_alone():
    engine, ended = Engine(generator(), num_slots=3, max_waiting=40), []
    engine.on_finished = lambda stream, last: ended.append(
        stream.submitted_at < stream.first_token_at and last.finish_reason
    )
    asked = requests(24)
    streams = [engine.submit(request(prompt(*ids), sampling)) for ids, sampling in asked]
    for (ids, sampling), stream in zip(asked, streams, strict=True):
        expected, (text, last) = alone(ids, sampling), whole(stream)
        assert text == expected.text
        assert (last.finish_reason, last.num_tokens) == (expected.finish_reason, len(expected.ids))
    engine.close()
    assert len(ended) == 24 and set(ended) <= {"stop", "length"}


def test_log_probabilities_do_not_depend_on_the_other_rows():
    engine, asked = Engine(generator(), num_slots=3, max_waiting=40), requests(12)
    wanted = [None if i % 3 == 0 else i % 4 for i in range(12)]
    wishes = [
        GenerationRequest(UnencodedPrompt(prompt(*ids).ids), sampling, num_alternatives=count)
        for (ids, sampling), count in zip(asked, wanted, strict=True)
    ]
    streams = [engine.submit(wish) for wish in wishes]
    for (ids, sampling), count, stream in zip(asked, wanted, streams, strict=True):
        expected, tokens = alone(ids, sampling), [t for chunk in stream.chunks(60) for t in chunk.tokens]
        if count is None:
            assert not tokens
            continue
        np.testing.assert_allclose([token.log_prob for token in tokens], expected.log_probs, atol=1e-5)
        assert [token.id for token in tokens][: len(expected.ids)] == expected.ids.tolist()
        assert {len(token.alternatives) for token in tokens} == {count}
    engine.close()


def test_a_clip_is_shown(engine):
    keys = np.array([0, 2])
    one, wish = prompt(clip(0), 7, 8), SamplingConfig(max_new_tokens=6)
    text, last = whole(engine.submit(GenerationRequest(UnencodedPrompt(one.ids, (ClipInput(frames(0), keys),)), wish)))
    (expected,) = generator().generate([one], wish)
    assert (text, last.finish_reason) == (expected.text, expected.finish_reason)


def test_a_full_queue_refuses_and_admitted_requests_are_answered():
    engine = Engine(generator(), num_slots=1, max_waiting=2)
    streams, refused = [], 0
    for _ in range(12):
        try:
            streams.append(engine.submit(request(prompt(5, 6), SamplingConfig(max_new_tokens=30))))
        except QueueFull as error:
            refused += 1
            assert "2 requests wait already" in str(error)
    engine.close()
    assert refused and {whole(stream)[1].finish_reason for stream in streams} <= {"stop", "length"}


def test_a_client_that_leaves_frees_its_row(engine):
    wish = SamplingConfig(max_new_tokens=40, stop_ids=(39,))
    gone = [engine.submit(request(prompt(5, i), wish)) for i in (3, 4, 5)]
    for stream in gone:
        stream.cancel()
    text, last = whole(engine.submit(request(prompt(5, 6), SamplingConfig(max_new_tokens=4))))
    assert last.finish_reason in ("stop", "length")
    assert all(whole(stream)[1].finish_reason in ("cancelled", "length", "stop") for stream in gone)
    assert engine.num_running == 0


def test_cancelled_requests_free_their_places_in_the_queue():
    engine = Engine(generator(), num_slots=1, max_waiting=2)
    held = threading.Event()
    done = engine.call(lambda: held.wait(30))
    while not done.running():
        time.sleep(0.01)
    wish = request(prompt(5, 6), SamplingConfig(max_new_tokens=3))
    gone = [engine.submit(wish) for _ in range(2)]
    with pytest.raises(QueueFull):
        engine.submit(wish)
    for stream in gone:
        stream.cancel()
    assert engine.num_waiting == 0
    kept = engine.submit(wish)
    held.set()
    assert whole(kept)[1].finish_reason in ("stop", "length")
    assert [whole(stream)[1].finish_reason for stream in gone] == ["cancelled"] * 2
    engine.close()


def test_after_a_step_that_failed_the_next_request_is_answered(engine, monkeypatch):
    wish = request(prompt(5, 6), SamplingConfig(max_new_tokens=4, stop_ids=()))
    usual = whole(engine.submit(wish))

    def fail(*_):
        raise MemoryError

    for broken in ("step", "begin"):
        with monkeypatch.context() as patch:
            patch.setattr(engine._slots, broken, fail)
            last = whole(engine.submit(wish))[1]
        assert last.finish_reason == "failed" and "the model failed" in last.error
        assert whole(engine.submit(wish)) == usual
    assert engine.num_running == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_stopped_engine_refuses_with_the_reason(monkeypatch):
    engine = Engine(generator(), num_slots=1)

    def fail(*_):
        raise SystemExit

    monkeypatch.setattr(engine, "_step", fail)
    stream = engine.submit(request(prompt(5, 6), SamplingConfig(max_new_tokens=4, stop_ids=())))
    assert "the model has stopped" in whole(stream)[1].error
    engine._thread.join(10)
    with pytest.raises(Closed, match="the model has stopped"):
        engine.submit(request(prompt(5, 6)))


def test_closing_finishes_what_runs_and_takes_nothing_more():
    engine = Engine(generator(), num_slots=2)
    streams = [engine.submit(request(prompt(5, i), SamplingConfig(max_new_tokens=8))) for i in (2, 3, 4)]
    engine.close()
    assert all(whole(stream)[1].finish_reason in ("stop", "length") for stream in streams)
    with pytest.raises(Closed, match="shutting down"):
        engine.submit(request(prompt(5)))
    assert not engine.alive


def test_closing_without_grace_cancels():
    engine = Engine(generator(), num_slots=1)
    wish = SamplingConfig(max_new_tokens=60, stop_ids=(39,))
    streams = [engine.submit(request(prompt(5, i), wish)) for i in (2, 3, 4)]
    engine.close(grace=0.0)
    assert "cancelled" in {whole(stream)[1].finish_reason for stream in streams}


def test_a_request_that_cannot_be_answered_fails_alone(engine):
    bad = engine.submit(request(Prompt(np.array([999], np.int32))))
    good = engine.submit(request(prompt(5, 6), SamplingConfig(max_new_tokens=3)))
    last = whole(bad)[1]
    assert last.finish_reason == "refused" and "an id of prompt 1 is 999" in last.error
    assert whole(good)[1].finish_reason in ("stop", "length")


def test_answers_stay_the_same_while_the_cache_grows_and_shrinks(monkeypatch):
    sizes, plain = set(), slots.Slots.step

    def step(self, ids):
        sizes.add(self.capacity)
        return plain(self, ids)

    monkeypatch.setattr(slots, "capacity_for", lambda length: slot_count(length + 8))
    monkeypatch.setattr(slots.Slots, "step", step)
    engine = Engine(generator(), num_slots=3, max_waiting=40)
    rng = np.random.default_rng(1)
    asked = [
        (tuple(rng.integers(2, 28, count).tolist()), SamplingConfig(max_new_tokens=new, stop_ids=(39,)))
        for count, new in [(3, 4), (40, 10), (2, 60), (5, 30), (1, 3), (2, 2), (3, 50), (50, 20), (1, 70), (4, 6)]
    ]
    streams = [engine.submit(request(prompt(*ids), sampling)) for ids, sampling in asked]
    for (ids, sampling), stream in zip(asked, streams, strict=True):
        assert whole(stream)[0] == alone(ids, sampling).text
    engine.close()
    assert len(sizes) > 2


def test_what_goes_wrong_with_one_request_is_its_own(engine, monkeypatch):
    plain = engine.generator.read_prompt

    def read_prompt(prompt):
        if 9 in prompt.ids:
            raise RuntimeError("out of memory")
        return plain(prompt)

    monkeypatch.setattr(engine.generator, "read_prompt", read_prompt)
    bad, good = (engine.submit(request(prompt(5, i))) for i in (9, 8))
    assert "the model failed on this request" in whole(bad)[1].error
    assert whole(good)[1].finish_reason in ("stop", "length")
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda: 1 / 0).result(timeout=20)
    assert engine.alive
