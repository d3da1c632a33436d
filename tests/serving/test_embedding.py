"""Searches among more uploads than stay encoded, and among uploads that are deleted meanwhile."""

import asyncio
import gc
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fastapi")

from hilight_jax.serving import embedding
from hilight_jax.serving.embedding import EmbeddingService
from hilight_jax.serving.videos.admission import AdmissionQueue
from hilight_jax.serving.videos.video_store import UnknownFile

NUM_BYTES = 100


class Encoded:
    """A video whose embedding is an angle, and whose patches repeat its number."""

    nbytes = NUM_BYTES

    def __init__(self, number):
        self.embed = np.array([np.cos(number / 10), np.sin(number / 10)])
        self.patches = np.full(3, number)


class Embedder:
    """Likes videos of low numbers; remembers which it encoded, and how many were alive at a time."""

    def __init__(self):
        self.encoded, self.most_alive, self.before = [], 0, lambda number: None
        self._alive = weakref.WeakSet()

    def encode_frames(self, frames):
        self.before(int(frames))
        self.encoded.append(int(frames))
        made = Encoded(int(frames))
        self._alive.add(made)
        gc.collect()
        self.most_alive = max(self.most_alive, len(self._alive))
        return made

    def compare(self, text, clips, words, shortlist):
        similarity = np.stack([clip.embed for clip in clips])[:, 0]
        score = similarity.copy()
        if words is not False:
            for number in np.argsort(-similarity)[:shortlist]:
                score[number] += clips[number].patches[0]
        return similarity, score

    def newly_encoded(self):
        """The videos that were encoded since the last call."""
        new, self.encoded = self.encoded, []
        return new


class Store:
    """Uploads by number, and videos elsewhere whose address ends in theirs."""

    def __init__(self, count):
        self.stored = {id_of(number): SimpleNamespace(id=id_of(number), digest=str(number)) for number in range(count)}

    def files(self):
        return list(self.stored.values())

    def get(self, url):
        if url not in self.stored:
            raise UnknownFile("there is no such file.")
        return self.stored[url]

    async def clip(self, url):
        if url.startswith("file-"):
            self.get(url)
        return SimpleNamespace(frames=np.array(int(url[-4:])))


def id_of(number):
    return f"file-{number:032}"


@pytest.fixture
def world(monkeypatch):
    """Searches among eight uploads, three of which stay encoded."""
    monkeypatch.setattr(embedding, "_MAX_KEPT_BYTES", 3 * NUM_BYTES)
    store, embedder = Store(8), Embedder()
    service = EmbeddingService(embedder, store, AdmissionQueue(1, 8, "for a test"))

    def search(urls=None, words=None, shortlist=2):
        found = asyncio.run(service.search(urls, "a ball", words, shortlist))
        return [int(each["url"][-4:]) for each in found]

    return SimpleNamespace(store=store, embedder=embedder, service=service, search=search)


def test_uploads_are_encoded_once_though_not_all_fit(world):
    assert world.search() == [1, 0, 2, 3, 4, 5, 6, 7]
    assert world.embedder.newly_encoded() == [0, 1, 2, 3, 4, 5, 6, 7]
    for _ in range(2):
        assert world.search() == [1, 0, 2, 3, 4, 5, 6, 7]
    assert world.search(words=False) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert world.embedder.newly_encoded() == []


def test_patches_that_do_not_fit_are_encoded_again_for_the_shortlist_alone(world):
    world.search()
    world.embedder.newly_encoded()
    few = [id_of(number) for number in (5, 6, 7)]
    assert world.search(few) == [6, 5, 7]
    assert world.embedder.newly_encoded() == [5, 6]
    assert world.search(few) == [6, 5, 7]
    assert world.embedder.newly_encoded() == []


def test_a_shortlist_of_more_than_fit_encodes_only_the_rest_again(world):
    world.search(shortlist=8)
    world.embedder.newly_encoded()
    for _ in range(2):
        assert world.search(shortlist=5) == [4, 3, 2, 1, 0, 5, 6, 7]
        assert world.embedder.newly_encoded() == [3, 4]


@pytest.mark.parametrize("prefix", ["file-" + "0" * 28, "https://example.com/"])
def test_few_encoded_videos_are_in_memory_at_a_time(world, prefix):
    urls = [f"{prefix}{number:04}" for number in range(8)]
    for _ in range(2):
        world.search(urls, shortlist=8)
    assert world.embedder.most_alive <= 5  # Three are kept, one is compared, and one is encoded.


def test_videos_that_are_no_uploads_are_encoded_once_and_not_kept(world):
    urls = [f"https://example.com/{number:04}" for number in range(3)]
    assert world.search(urls) == [1, 0, 2]
    assert world.embedder.newly_encoded() == [0, 1, 2]
    assert not world.service._kept._videos and not world.service._embeds


def test_deleted_uploads_are_forgotten(world):
    world.search()
    for number in range(7):
        del world.store.stored[id_of(number)]
    assert world.search() == [7]
    assert list(world.service._embeds) == ["7"] and list(world.service._kept._videos) == ["7"]


@pytest.mark.parametrize("when", [0, 4], ids=["before it is embedded", "while others are compared"])
def test_an_upload_that_is_deleted_meanwhile_is_left_out(world, when):
    """With a shortlist of 8, video 3 is read again after all are embedded."""
    world.search(shortlist=8) if when else None
    world.embedder.before = lambda number: number == (3 if when else 0) and world.store.stored.pop(id_of(4), None)
    assert world.search(shortlist=8) == [7, 6, 5, 3, 2, 1, 0]
    with pytest.raises(UnknownFile):
        world.search([id_of(0), id_of(4)])


def test_a_search_that_is_given_up_encodes_no_more(world):
    world.search(shortlist=8)
    world.embedder.newly_encoded()

    async def leave():
        task = asyncio.ensure_future(world.service.search(None, "a ball", None, 8))
        loop = asyncio.get_running_loop()
        world.embedder.before = lambda number: (loop.call_soon_threadsafe(task.cancel), ended.wait(5))
        with pytest.raises(asyncio.CancelledError):
            await task
        ended.set()

    ended = threading.Event()
    asyncio.run(leave())
    assert world.embedder.newly_encoded() == [3]
